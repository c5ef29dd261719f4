"""`/mcp` of the daemon: the tools over streamable HTTP, for whoever shows a token.

Every call is complete in itself: no session is kept. The address may narrow what a token opens:
`/mcp?workspace=acme&access=readonly&tags=support`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any, Protocol
from urllib.parse import urlsplit

from aiohttp import web

from state.store import Store
from state.tables import ApiCall
from syncd import log
from syncd.access import Caller
from syncd.errors import BadRequest, Refused, SyncdError
from syncd.mcp.access import Access, Wish, policy
from syncd.mcp.backend import Backend, chosen
from syncd.mcp.bridge import Bridge
from syncd.mcp.files import UPLOAD_LIMIT, Files
from syncd.mcp.lazy import sdk
from syncd.mcp.toolboxes import toolbox
from syncd.mcp.tools import Asked, Outcome, Tool, Toolbox
from syncd.model import Side
from syncd.runner import utc_now
from syncd.settings import Settings, Workspace, is_loopback
from syncd.web.guard import CALLER, refuse

PATH = "/mcp"
SESSION = "syncd.session"
#: An upload in base64, and the call around it.
MAX_BODY = UPLOAD_LIMIT * 4 // 3 + 1024 * 1024
#: Nothing of these calls is kept for a repetition.
NO_KEEP = timedelta(0)

logger = log.get(__name__)


class Worked(Protocol):
    """The workspaces that are worked on in this process."""

    @property
    def runners(self) -> Any:
        """By name; each has `accounts` by side."""


def add_routes(app: web.Application, worked: Worked, store: Store, settings: Callable[[], Settings]) -> None:
    """Serve `/mcp` over these accounts; writes are recorded in the store."""
    door = _Door(worked, store, settings)
    app.router.add_post(PATH, door.handle)
    app.on_shutdown.append(door.hang_up)
    app.on_cleanup.append(door.close)


class _Door:
    """The SDK's server, loaded with the first call, and the tools of each workspace."""

    def __init__(self, worked: Worked, store: Store, settings: Callable[[], Settings]) -> None:
        self._worked, self._store, self._settings = worked, store, settings
        self._boxes: dict[str, tuple[Workspace, Toolbox]] = {}
        self._opening = asyncio.Lock()
        self._closing = asyncio.Event()
        self._bridge: Bridge | None = None
        self._served: asyncio.Task[None] | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One message of a client."""
        if reason := _stranger(request, self._settings().http.host):
            return refuse(403, reason)
        body = await _whole(request)
        try:
            bridge = await self._opened()
            session = self._session(request)
        except BadRequest as error:
            return refuse(400, log.masked(str(error)))
        except SyncdError as error:
            return refuse(503, log.masked(str(error)))
        return await bridge(request, body, {SESSION: session})

    def _session(self, request: web.Request) -> Any:
        caller, query = request[CALLER], request.query
        workspace = chosen(self._settings(), query.get("workspace", caller.workspace))
        if caller.workspace not in (None, workspace.name):
            raise BadRequest(f"this token is for the workspace {caller.workspace} and sees no other")
        box = self._box(workspace)
        wish = Wish(query.get("access", Access.AGENT), query.getall("resources", []), query.getall("tags", []))
        may_send = bool(getattr(workspace.gorgias, "allow_send", False))
        allowed = policy(wish, box.tools.values(), may_send=may_send, caller=caller)
        return sdk("server").Session(box, allowed, _Records(self._store, workspace.name, caller))

    def _box(self, workspace: Workspace) -> Toolbox:
        """The tools of a workspace, made anew when its configuration was."""
        made_for, box = self._boxes.get(workspace.name, (None, None))
        if box is None or made_for != workspace:
            backend = Backend(self._settings(), workspace, self._account_of(workspace.name))
            box = toolbox(backend, Files())
            self._boxes[workspace.name] = (workspace, box)
        return box

    def _account_of(self, workspace: str) -> Callable[[Side], Any]:
        async def account(side: Side) -> Any:
            runner = self._worked.runners.get(workspace)
            if runner is None:
                raise Refused(f"the workspace {workspace} is not worked on here", hint="its tools are where it is")
            return runner.accounts[side]

        return account

    # -- the SDK's server ---------------------------------------------------------------------------------------------

    async def _opened(self) -> Bridge:
        async with self._opening:
            if self._bridge is None:
                await asyncio.to_thread(sdk, "server")
                opened: asyncio.Future[Bridge] = asyncio.get_running_loop().create_future()
                self._served = asyncio.create_task(self._serve(opened), name="mcp")
                self._bridge = await opened
            return self._bridge

    async def _serve(self, opened: "asyncio.Future[Bridge]") -> None:
        """Its task group must be entered and left by one task: this one."""
        server = sdk("server").make_server(lambda request: request.scope[SESSION])
        app = server.streamable_http_app(
            streamable_http_path=PATH,
            json_response=True,
            stateless_http=True,
            max_request_body_size=MAX_BODY,
            host="",  # who may call is decided before it comes here
        )
        async with app.router.lifespan_context(app):
            opened.set_result(Bridge(app))
            await self._closing.wait()

    async def hang_up(self, _app: web.Application) -> None:
        """The daemon stops: who only listens is told so."""
        if self._bridge:
            self._bridge.close()

    async def close(self, _app: web.Application) -> None:
        """All calls have ended."""
        self._closing.set()
        if self._served:
            await self._served


class _Records:
    """Writes, each on record before it is sent."""

    def __init__(self, store: Store, workspace: str, caller: Caller) -> None:
        self._store, self._workspace, self._caller = store, workspace, caller

    async def __call__(self, tool: Tool, asked: Asked, work: Callable[[], Any]) -> Outcome:
        """Do the work. Raises StoreError, and nothing is done, where there can be no record."""
        call = ApiCall(
            workspace=self._workspace,
            side=Side.GORGIAS,
            token=self._caller.name,
            operation=tool.name,
            path=PATH,
            what={"arguments": sorted(map(str, asked.arguments))},
            at=utc_now(),
        )
        begun = await self._store.begin_call(call, NO_KEEP)
        try:
            outcome: Outcome = await work()
        except SyncdError as error:
            await self._end(begun.id, getattr(error, "status", 0) or (400 if isinstance(error, BadRequest) else 502))
            raise
        await self._end(begun.id, 200)
        return outcome

    async def _end(self, number: int, status: int) -> None:
        try:
            await self._store.end_call(number, status, None)
        except SyncdError as error:  # what happened, happened
            logger.error("what became of a write by a tool is not on record", call=number, error=str(error))


def _stranger(request: web.Request, host: str) -> str:
    """Why a call may come from a web page that leads a browser here; empty when it does not.

    A page can point its own host name at this machine, and a browser says where a call comes from.
    """
    asked = urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
    if is_loopback(host) and not is_loopback(asked):
        return "the Host header does not name this machine"
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("Host"):
        return "calls from other web pages are not taken"
    return ""


async def _whole(request: web.Request) -> bytes:
    """The body. Raises HTTPRequestEntityTooLarge."""
    if (request.content_length or 0) > MAX_BODY:
        raise web.HTTPRequestEntityTooLarge(MAX_BODY, request.content_length or 0)
    body = bytearray()
    chunks: AsyncIterator[bytes] = request.content.iter_any()
    async for chunk in chunks:
        body += chunk
        if len(body) > MAX_BODY:
            raise web.HTTPRequestEntityTooLarge(MAX_BODY, len(body))
    return bytes(body)
