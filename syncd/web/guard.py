"""Who may come in, and what every answer carries: token, origin, security headers, errors as JSON."""

import base64
import binascii
import hmac
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from pydantic import SecretStr

from syncd import log
from syncd.errors import BadRequest, StoreError
from syncd.settings import is_loopback

OPEN = frozenset({"/healthz"})
PAGES = frozenset({"/"})
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Server": "syncd",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

logger = log.get(__name__)


def refuse(status: int, reason: str, **headers: str) -> web.Response:
    """An error as every endpoint reports it: `{"error": reason}`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.json_response({"error": reason}, status=status, headers=named)


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Put the security headers on an answer, unless it has its own."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = HEADERS["Server"]


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into a JSON answer that says no more than the caller may know."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        allowed = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
        return refuse(error.status, error.reason, **allowed)
    except BadRequest as error:
        return refuse(400, log.masked(str(error)))
    except StoreError as error:
        logger.warning("store is away", path=request.path, error=str(error))
        return refuse(503, "the store is not available", Retry_After="5")
    except Exception:
        logger.exception("request failed", method=request.method, path=request.path)
        return refuse(500, "internal error; the log has the details")


def doorkeeper(token: SecretStr | None) -> Middleware:
    """The middleware that lets in who shows the token or, when there is none, who is on this machine."""

    @web.middleware
    async def keep(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in OPEN:
            return await handler(request)
        if token is None:
            if not _is_local(request):
                return refuse(403, "without a token only this machine itself is served: set [http] token")
        elif not _shows(token.get_secret_value(), request):
            scheme = 'Basic realm="syncd", charset="UTF-8"' if request.path in PAGES else 'Bearer realm="syncd"'
            return refuse(401, "the token is missing or wrong", WWW_Authenticate=scheme)
        return await handler(request)

    return keep


def _shows(token: str, request: web.Request) -> bool:
    shown = [credential for credential in (_credential(request), request.headers.get("X-Syncd-Token")) if credential]
    # Bytes, because compare_digest takes no text beyond ASCII.
    return any(hmac.compare_digest(one.encode("utf-8", "replace"), token.encode()) for one in shown)


def _credential(request: web.Request) -> str:
    """What the Authorization header shows: a bearer token or, on a page, the password of any user."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic" and request.path in PAGES:
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""


def _is_local(request: web.Request) -> bool:
    """Whether a call was meant for this machine by a program on it, and not sent by a web page in its browser.

    A page may point its own host name at 127.0.0.1, or post here across origins: the Host and Origin headers tell.
    """
    host = urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
    origin = request.headers.get("Origin")
    return is_loopback(host) and (origin is None or origin == f"http://{request.headers['Host']}")
