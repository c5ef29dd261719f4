"""What went wrong, as the API answers it: `{"statusCode", "error", "message"}`, and the product's own words beside."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from aiohttp import web

from syncd import log
from syncd.errors import (
    AccountError,
    BadRequest,
    Forbidden,
    Gone,
    Moved,
    OutcomeUnknown,
    RateLimited,
    Refused,
    TryLater,
    Unauthorized,
    VersionConflict,
)
from syncd.web.guard import error_body

#: A product's statuses that mean the same to our caller; another one of the four hundreds is a 422.
SAME = frozenset({400, 404, 409, 410, 412, 413, 415, 422})
#: Headers of a product that are passed on with its error.
PASSED_ON = ("Retry-After", "X-Request-Id")
#: Bytes of a product's error that are shown.
RAW = 20_000


class Fault(Exception):
    """An answer that is an error. `happened` says whether something may have been changed all the same."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        failures: Iterable[str] = (),
        headers: Mapping[str, str] | None = None,
        happened: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.happened = happened
        self.headers = dict(headers or {})
        self.more = more
        self.failures = list(failures)

    def body(self) -> bytes:
        """As JSON."""
        details = {"details": {"failures": self.failures}} if self.failures else {}
        return orjson.dumps({**error_body(self.status, log.masked(str(self))), **details, **self.more})

    def response(self) -> web.Response:
        """As an answer."""
        headers = {"Content-Type": "application/json", **self.headers}
        if self.status == 401:
            headers.setdefault("WWW-Authenticate", 'Bearer realm="syncd"')
        return web.Response(status=self.status, body=self.body(), headers=headers)


def wrong(error: BadRequest) -> Fault:
    """A call that was not sent."""
    reason = str(error.args[0]).partition("\n")[0]
    return Fault(400, f"{reason}: {'; '.join(error.problems)}" if error.problems else reason, failures=error.problems)


def remote(error: AccountError) -> Fault:
    """What a product answered, or that it did not."""
    headers = {name: error.headers[name] for name in PASSED_ON if name in error.headers}
    if isinstance(error, TryLater) and error.retry_after is not None:
        headers["Retry-After"] = str(round(error.retry_after))
    more: dict[str, Any] = {"is_remote_error": True, "truto_is_remote_error": True}
    if error.status:
        more |= {"remote_status": error.status, "raw_response": _raw(error.body)}
    if isinstance(error, Moved) and error.to:
        more["moved_to"] = error.to
    unknown = isinstance(error, OutcomeUnknown)
    return Fault(_status(error), str(error), headers=headers, happened=unknown, **more)


def _status(error: AccountError) -> int:
    fixed: tuple[tuple[type[AccountError], int], ...] = (
        (Unauthorized, 401), (Forbidden, 403), (Moved, 404), (RateLimited, 429),
    )  # fmt: skip
    for kind, status in fixed:
        if isinstance(error, kind):
            return status
    if isinstance(error, Gone | VersionConflict | Refused):
        return error.status if error.status in SAME else 422
    return 502 if error.status else 504


def _raw(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return log.masked(body[:RAW].decode("utf-8", "replace"))
