"""Who may come in, and what every answer carries: token, origin, security headers, errors as JSON."""

import base64
import binascii
import hmac
from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from pydantic import SecretStr

from syncd import log
from syncd.access import ADMIN, Access, Caller, Keys, looks_like_token
from syncd.errors import BadRequest, StoreError
from syncd.runner import utc_now
from syncd.settings import is_loopback

OPEN = frozenset({"/healthz"})
PAGES = frozenset({"/", "/docs"})
#: What the tokens of `syncd token` open; all else is the daemon's own business.
DESCRIPTIONS = frozenset({"/docs", "/openapi.json"})
API = ("/proxy/", "/unified/", "/mcp")
CALLER = web.RequestKey("caller", Caller)
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
    """An error as every endpoint reports it: `{"statusCode": 404, "error": "Not Found", "message": reason}`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.json_response(error_body(status, reason), status=status, headers=named)


def error_body(status: int, reason: str) -> dict[str, object]:
    """The three things that every error says."""
    return {"statusCode": status, "error": HTTPStatus(status).phrase, "message": reason}


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
    except web.RequestPayloadError:
        response = refuse(400, "the body cannot be read: it is not encoded as its headers say")
        response.force_close()
        return response
    except StoreError as error:
        logger.warning("store is away", path=request.path, error=str(error))
        return refuse(503, "the store is not available", Retry_After="5")
    except Exception:
        logger.exception("request failed", method=request.method, path=request.path)
        return refuse(500, "internal error; the log has the details")


def doorkeeper(token: SecretStr | None, keys: Keys | None = None) -> Middleware:
    """The middleware that lets in who shows the daemon's token, or one of `keys` where those lead.

    Without a daemon's token whoever is on this machine may look at its state. The API always wants a token: it writes.
    """

    @web.middleware
    async def keep(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in OPEN:
            return await handler(request)
        shown = _shown(request)
        caller = await _known(shown, token, keys)
        if caller is None and token is None and not any(map(looks_like_token, shown)) and not _is_described(request):
            if not _is_local(request):
                return refuse(403, "without a token only this machine itself is served: set [http] token")
            caller = ADMIN
        if caller is None:
            return _who_are_you(request)
        if caller is not ADMIN and not _is_described(request):
            return refuse(403, "this token opens the API and its description; this wants the daemon's own token")
        request[CALLER] = caller
        return await handler(request)

    return keep


def permit(request: web.Request, workspace: str, operation: str, route: str, access: Access) -> None:
    """Let the request's caller do this, or raise HTTPForbidden with the reason."""
    reason = request[CALLER].refusal(workspace, operation, route, access)
    if reason:
        raise web.HTTPForbidden(reason=reason)


def _is_described(request: web.Request) -> bool:
    """Whether this is the API, or its description."""
    return request.path.startswith(API) or request.path in DESCRIPTIONS


async def _known(shown: Iterable[str], token: SecretStr | None, keys: Keys | None) -> Caller | None:
    for one in shown:
        # Bytes, because compare_digest takes no text beyond ASCII.
        if token and hmac.compare_digest(one.encode("utf-8", "replace"), token.get_secret_value().encode()):
            return ADMIN
        if keys and (caller := await keys.caller(one, utc_now())):
            return caller
    return None


def _who_are_you(request: web.Request) -> web.Response:
    scheme = 'Basic realm="syncd", charset="UTF-8"' if request.path in PAGES else 'Bearer realm="syncd"'
    return refuse(401, "the token is missing or wrong", WWW_Authenticate=scheme)


def _shown(request: web.Request) -> list[str]:
    return [one for one in (_credential(request), request.headers.get("X-Syncd-Token")) if one]


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
