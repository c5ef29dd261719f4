"""How an account is entered: by a user's API key, or by the tokens of an app (OAuth2), which are renewed.

The API: access tokens live 24 hours, the refresh token does not expire and needs the scope `offline`; the address of
authorization is documented. Inferred: the address of tokens, `/oauth/token` on the same host, and that an app says who
it is by HTTP Basic, as RFC 6749 has it.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import aiohttp
import structlog

from connectors.gorgias.config import GorgiasConfig, OAuth
from connectors.gorgias.tokens import AGAIN, Tokens
from syncd.errors import BadRequest, ConfigError, Forbidden, Refused, TryLater, Unauthorized
from syncd.http import Renew, Transport
from syncd.secret import current

AUTHORIZE, TOKEN = "/oauth/authorize", "/oauth/token"
#: An access token is renewed so long before its end.
EARLY = timedelta(minutes=10)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

logger = structlog.get_logger(__name__)

Headers = Mapping[str, str]


def headers(config: GorgiasConfig) -> dict[str, str]:
    """What is shown at first. Raises ConfigError when there are no tokens where they should be."""
    if config.oauth:
        return bearer(Tokens.read(config.oauth.token_file))
    return _basic(config)


def renewal(config: GorgiasConfig) -> Renew:
    """What is shown later: a key that was changed where it is kept, or a fresh token."""
    return Renewal(config, config.oauth).renew if config.oauth else _key_again(config)


def bearer(tokens: Tokens) -> dict[str, str]:
    """The header of an access token."""
    return {"Authorization": f"Bearer {tokens.access}"}


def _basic(config: GorgiasConfig) -> dict[str, str]:
    if config.email is None or config.api_key is None:
        raise ConfigError(["[gorgias] email and api_key: are required without oauth"])
    key = current(config.api_key).get_secret_value()
    return {"Authorization": aiohttp.encode_basic_auth(config.email, key)}


def _key_again(config: GorgiasConfig) -> Renew:
    async def renew(refused: bool) -> Headers | None:
        return await asyncio.to_thread(_basic, config) if refused else None

    return renew


async def exchanged(url: str, oauth: OAuth, label: str, **form: str) -> dict[str, Any]:
    """What the address of tokens answers to a grant. Raises AccountError."""
    secret = current(oauth.client_secret).get_secret_value()
    who = {"Authorization": aiohttp.encode_basic_auth(oauth.client_id, secret)}
    async with Transport(url, label, headers=who) as transport:
        body = urlencode(form).encode()
        doc = await transport.json("POST", TOKEN, data=lambda: body, headers=FORM, safe=True)
    if not isinstance(doc, dict) or not doc.get("access_token"):
        raise TryLater(f"{label} answered {TOKEN} without an access token")
    return doc


class Renewal:
    """Keeps an app's access token fresh: soon before its end, and when it is refused. One at a time."""

    def __init__(self, config: GorgiasConfig, oauth: OAuth) -> None:
        self._url = config.url
        self._label = f"Gorgias ({config.url.partition('://')[2]})"
        self._oauth = oauth
        self._tokens: Tokens | None = None
        self._lock = asyncio.Lock()

    async def renew(self, refused: bool) -> Headers | None:
        """The header to show. Raises Unauthorized when the app was shut out, TryLater."""
        held = self._tokens
        if held and not refused and not _ends_soon(held):
            return None
        async with self._lock:
            if self._tokens is not held and self._tokens:  # somebody else did it meanwhile
                return bearer(self._tokens)
            stored = await asyncio.to_thread(self._stored)
            # Another process may have renewed them; what this one has not tried yet is worth a try.
            untried = stored.access != held.access if held else not refused
            if not untried or _ends_soon(stored):
                stored = await self._refreshed(stored)
            self._tokens = stored
            return bearer(stored)

    def _stored(self) -> Tokens:
        try:
            return Tokens.read(self._oauth.token_file)
        except ConfigError as error:
            raise Unauthorized(error.problems[0]) from error

    async def _refreshed(self, old: Tokens) -> Tokens:
        try:
            answer = await exchanged(
                self._url, self._oauth, self._label, grant_type="refresh_token", refresh_token=old.refresh
            )
        except (Unauthorized, Forbidden, Refused, BadRequest) as error:
            said = str(error).replace(old.refresh, "***")
            raise Unauthorized(f"{self._label} does not renew the app's access: {said}", hint=AGAIN) from error
        tokens = Tokens.of(answer, datetime.now(UTC), old.refresh)
        await asyncio.to_thread(self._keep, tokens)
        return tokens

    def _keep(self, tokens: Tokens) -> None:
        try:
            tokens.write(self._oauth.token_file)
        except OSError as error:  # they are good all the same, until this process ends
            why = f"{self._oauth.token_file}: {error.strerror}"
            logger.error("renewed tokens cannot be stored: give syncd the right to write", error=why)


def _ends_soon(tokens: Tokens) -> bool:
    return datetime.now(UTC) > tokens.expires_at - EARLY
