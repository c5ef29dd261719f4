"""What an HTTP answer means: the value of a success, and one of our errors for each other status."""

import base64
import contextlib
import email.utils
import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from yarl import URL

from syncd.errors import (
    AccountError,
    Forbidden,
    Gone,
    Moved,
    OutcomeUnknown,
    RateLimited,
    Refused,
    TooLarge,
    TryLater,
    Unauthorized,
    VersionConflict,
)

#: A status that is none of these and below 500 is Refused.
MEANINGS: Mapping[int, type[AccountError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: Gone,
    407: TryLater,  # a proxy's word, not the account's
    409: VersionConflict,
    410: Gone,
    412: VersionConflict,
    413: TooLarge,
    421: TryLater,
    423: TryLater,
    425: TryLater,
    451: Forbidden,
}
_SECRET = re.compile("auth|key|token|secret|cookie", re.IGNORECASE)
_NUMBER = re.compile("[0-9]+")
#: What JSON escapes: a pair of surrogates, half a pair (kept in the group), or anything else.
_ESCAPE = re.compile(rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer: status, headers, the whole body, and the JSON in it where JSON was asked for."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    value: Any = None

    def json(self) -> Any:
        """The body as JSON; an empty body is None."""
        if self.value is not None or not self.body or self.body.isspace():
            return self.value
        return parsed(self.body)


def parsed(body: bytes) -> Any:
    """The JSON in a body. Half a pair of surrogates, as a text that was cut may end with, reads as U+FFFD."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        mended = _ESCAPE.sub(lambda escape: rb"\ufffd" if escape[1] else escape[0], body)
        if mended == body:
            raise
        return orjson.loads(mended)


def error_for(
    status: int, headers: Mapping[str, str], label: str, method: str, url: URL, detail: str, safe: bool
) -> AccountError:
    """The failure that a status outside 2xx means: one class for each thing the caller does next."""
    message = f"{label} answered {status} to {method} {url.path}" + (f": {detail}" if detail else "")
    if status == 429:
        return RateLimited(message, status=status, detail=detail, retry_after=retry_after(headers))
    if status >= 500 or status == 408:
        kind = TryLater if safe else OutcomeUnknown
        return kind(message, status=status, detail=detail, retry_after=retry_after(headers))
    if 300 <= status < 400:
        return _redirected(status, headers, url, message)
    return MEANINGS.get(status, Refused)(message, status=status, detail=detail)


def _redirected(status: int, headers: Mapping[str, str], asked: URL, message: str) -> AccountError:
    try:
        target = asked.join(URL(headers.get("Location", "")))
    except ValueError:  # an address that is none leads nowhere
        target = asked
    if status in {301, 308} and (heir := _heir(asked, target)):
        return Moved(message, status=status, to=heir)
    if status == 301 and "Location" not in headers:
        return Moved(message, status=status)
    where = "nowhere" if target == asked else f"{target.scheme}://{target.host}{target.path}"
    return TryLater(message, status=status, hint=f"the server redirects to {where}: is the URL right?")


def _heir(asked: URL, target: URL) -> str | None:
    """The id at the place where the one that was asked for stood, if the two paths differ in nothing else."""
    parts = [url.path.rstrip("/").split("/") for url in (asked, target)]
    different = [pair for pair in zip(*parts, strict=False) if pair[0] != pair[1]]
    if len(different) != 1 or not all(map(_NUMBER.fullmatch, different[0])):
        return None
    return str(different[0][1])


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that the server asks to wait, given as a number or a date; None for anything else."""
    value = headers.get("Retry-After", "")
    try:
        seconds = float(value)
    except ValueError:
        return _until(value)
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _until(date: str) -> float | None:
    try:
        return max(0.0, email.utils.parsedate_to_datetime(date).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):  # no date either: as if it were absent
        return None


def said(error: BaseException, credentials: Mapping[str, str]) -> str:
    """What an error of the connection says, without a query, which may hold a signature."""
    return without_secrets(re.sub(r"\?\S+", "?…", str(error)), credentials) or type(error).__name__


def without_secrets(text: str, credentials: Mapping[str, str]) -> str:
    """The text with an ellipsis wherever it repeats a secret of ours."""
    for secret in _secrets(credentials):
        text = text.replace(secret, "…")
    return text


def _secrets(credentials: Mapping[str, str]) -> Iterator[str]:
    """What must not be shown of credentials: the values, a token behind its scheme, and the password in it."""
    for name, value in credentials.items():
        token = value.rpartition(" ")[2]
        if _SECRET.search(name) and token:
            yield from (value, token)
            with contextlib.suppress(ValueError):  # a token that is not of the scheme Basic
                yield from filter(None, [base64.b64decode(token, validate=True).decode().partition(":")[2]])


def reach_hint(error: BaseException) -> str:
    """What to look at when no connection comes about."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its TLS certificate is not trusted"
    if isinstance(error, aiohttp.ClientHttpProxyError | aiohttp.ClientProxyConnectionError):
        return "is the proxy of the environment right?"
    return "is the URL right, and is the server up?"
