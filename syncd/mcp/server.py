"""The protocol, by the official SDK: tools are listed and called as a policy allows. Importing this takes a second."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import orjson
from mcp import types
from mcp.server import Server
from mcp.server.context import ServerRequestContext

from syncd import log
from syncd.errors import SyncdError
from syncd.mcp import failures
from syncd.mcp.access import Access, Policy
from syncd.mcp.refusals import Closed
from syncd.mcp.tools import Asked, Outcome, Tool, Toolbox

NAME = "syncd"
INSTRUCTIONS = (
    "Tools for one Gorgias helpdesk account. Common jobs take one call: find_tickets, get_conversation, reply_or_note. "
    "Lists come in pages: when an answer has `next`, it says how to get the following one. Empty values are left out, "
    "long texts are cut; full=true gives everything. An error says in `next` what to do. Write to customers only when "
    "the user wants it: a note is not seen by them."
)
#: Lists of tools that are kept, each for one choice of tools.
KEPT = 32

logger = log.get(__name__)

Context = ServerRequestContext[Any, Any]
Work = Callable[[], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Session:
    """What one caller works with: tools, what may be done with them, and who keeps a record of writes."""

    box: Toolbox
    policy: Policy
    recorded: Callable[[Tool, Asked, Work], Awaitable[Outcome]] | None = None


def make_server(session_of: Callable[[Any], Session]) -> Server[Any]:
    """A server; `session_of` finds the session of the transport's request (None over stdio)."""
    listed: dict[tuple[Toolbox, Policy], types.ListToolsResult] = {}

    async def list_tools(ctx: Context, _params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        session = session_of(ctx.request)
        key = (session.box, session.policy)
        if key not in listed:
            if len(listed) >= KEPT:
                listed.clear()
            shown = [_shown(tool) for tool in session.box.tools.values() if session.policy.shows(tool)]
            listed[key] = types.ListToolsResult(tools=shown)
        return listed[key]

    async def call_tool(ctx: Context, params: types.CallToolRequestParams) -> dict[str, Any]:
        return await call(session_of(ctx.request), params.name, params.arguments or {})

    server: Server[Any] = Server(NAME, version=version("syncd"), instructions=INSTRUCTIONS, on_list_tools=list_tools)
    server.add_request_handler("tools/call", types.CallToolRequestParams, call_tool)
    server.middleware.clear()  # spans that nobody collects
    return server


async def call(session: Session, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Call a tool; whatever goes wrong is an answer that a model can act on."""
    tool = None
    try:
        tool = session.box.find(name)
        _let(tool, session.policy)
        outcome = await _done(session, tool, Asked(arguments, session.policy.send))
    except SyncdError as error:
        logger.info("a tool failed", tool=name, error=type(error).__name__)
        return _result(Outcome(failures.told(error, tool)), is_error=True)
    except Exception:
        logger.exception("a tool met a defect of syncd", tool=name)
        defect = {"error": {"kind": "defect", "message": "syncd failed; its log has the details"}}
        return _result(Outcome({**defect, "next": "Do not repeat it: tell the user."}), is_error=True)
    return _result(outcome)


async def _done(session: Session, tool: Tool, asked: Asked) -> Outcome:
    if tool.effect == "read":
        return await tool(asked)
    if session.recorded:
        return await session.recorded(tool, asked, lambda: tool(asked))
    outcome = await tool(asked)
    logger.info("a tool wrote", tool=tool.name, arguments=sorted(asked.arguments))
    return outcome


def _let(tool: Tool, policy: Policy) -> None:
    if policy.shows(tool):
        return
    if policy.reaches(tool):
        raise Closed(f"{tool.name} is left out by this session's choice of tools")
    needed = Access.AGENT if tool.effect == "write" and tool.everyday else Access.ADMIN
    raise Closed(f"{tool.name} needs access {needed}, and this session has {policy.access}")


def _shown(tool: Tool) -> types.Tool:
    reads = tool.effect == "read"
    hints: dict[str, Any] = {"read_only_hint": reads, "destructive_hint": tool.destructive}
    if not reads:  # what only reads is idempotent anyway
        hints["idempotent_hint"] = tool.idempotent
    return types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema=dict(tool.schema),
        annotations=types.ToolAnnotations(**hints),
    )


def _result(outcome: Outcome, *, is_error: bool = False) -> dict[str, Any]:
    """A CallToolResult as it goes on the wire: the SDK checks it, and need not write it out first."""
    content: list[dict[str, Any]] = [{"type": "text", "text": orjson.dumps(outcome.value).decode()}]
    for blob in outcome.blobs:
        contents = {"uri": blob.uri, "mimeType": blob.content_type, "blob": blob.content}
        content.append({"type": "resource", "resource": contents})
    value = outcome.value
    return {"content": content, "structuredContent": value, "isError": is_error, "resultType": "complete"}
