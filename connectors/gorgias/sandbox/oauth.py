"""An app's way in (OAuth2): everybody agrees at once, and tokens end when they should.

Inferred: everything but the address of authorization, the tokens' lives and the scope `offline`.
"""

import base64
import binascii
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import parse_qsl

import orjson
from aiohttp import web
from yarl import URL

from connectors.gorgias.sandbox.world import World

AUTHORIZE, TOKEN = "/oauth/authorize", "/oauth/token"


class Wrong(Exception):
    """A grant that is none, by its name in RFC 6749."""


@dataclass(slots=True)
class Apps:
    """The one app of the options, its codes and its tokens."""

    world: World
    codes: dict[str, str] = field(default_factory=dict)
    access: dict[str, datetime] = field(default_factory=dict)
    refresh: set[str] = field(default_factory=set)
    given: int = 0

    def let_in(self, token: str) -> bool:
        """Whether an access token is good now."""
        return token in self.access and self.access[token] > self.world.now()

    def shut_out(self) -> None:
        """The account's owner takes the app's access back."""
        self.access.clear()
        self.refresh.clear()

    async def answer(self, request: web.Request) -> web.Response | None:
        """The answer to a request for one of the two addresses; None to all others."""
        if self.world.options.app is None or request.path not in {AUTHORIZE, TOKEN}:
            return None
        if request.path == AUTHORIZE and request.method == "GET":
            return self._authorize(request.query)
        if request.path == TOKEN and request.method == "POST":
            return self._token(request.headers.get("Authorization", ""), await request.text())
        return web.Response(status=405)

    def _authorize(self, query: Mapping[str, str]) -> web.Response:
        app, back = self.world.options.app, query.get("redirect_uri", "")
        if not app or query.get("client_id") != app[0] or query.get("response_type") != "code" or not back:
            return web.Response(status=400, text="This app is not known.")
        code = secrets.token_urlsafe(16)
        self.codes[code] = back
        return web.Response(
            status=302, headers={"Location": str(URL(back).update_query(code=code, state=query["state"]))}
        )

    def _token(self, authorization: str, form: str) -> web.Response:
        try:
            self._must_be_the_app(authorization)
            refresh = self._granted(dict(parse_qsl(form)))
        except Wrong as error:
            status = 401 if str(error) == "invalid_client" else 400
            return web.json_response({"error": str(error)}, status=status)
        access, life = secrets.token_urlsafe(24), self.world.options.token_life
        self.access[access] = self.world.now() + timedelta(seconds=life)
        self.given += 1
        answer = {"access_token": access, "refresh_token": refresh, "expires_in": life, "token_type": "Bearer"}
        return web.Response(body=orjson.dumps(answer), content_type="application/json")

    def _must_be_the_app(self, authorization: str) -> None:
        try:
            shown = base64.b64decode(authorization.removeprefix("Basic "), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise Wrong("invalid_client") from error
        if (shown[0], shown[2]) != self.world.options.app:
            raise Wrong("invalid_client")

    def _granted(self, form: Mapping[str, str]) -> str:
        if form.get("grant_type") == "authorization_code":
            if self.codes.pop(form.get("code", ""), None) != form.get("redirect_uri"):
                raise Wrong("invalid_grant")
            token = secrets.token_urlsafe(24)
            self.refresh.add(token)
            return token
        if form.get("grant_type") != "refresh_token":
            raise Wrong("unsupported_grant_type")
        if form.get("refresh_token") not in self.refresh:
            raise Wrong("invalid_grant")
        return form["refresh_token"]
