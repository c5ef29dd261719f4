"""`syncd mcp`: the tools over standard input and output, for an MCP client that starts it."""

import asyncio
import contextlib
import signal
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from syncd.mcp.access import Access, Wish, policy
from syncd.mcp.backend import Accounts, Backend, chosen
from syncd.mcp.files import Files
from syncd.mcp.lazy import sdk
from syncd.mcp.toolboxes import toolbox
from syncd.settings import Settings


@click.command()
@click.argument("configs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--access",
    type=click.Choice([str(level) for level in Access]),
    default=str(Access.AGENT),
    show_default=True,
    help="readonly reads; agent also works on tickets and customers, and mails nobody; admin does everything.",
)
@click.option("--resources", multiple=True, metavar="NAME,…", help="Only tools about these, such as tickets,messages.")
@click.option("--tags", multiple=True, metavar="NAME,…", help="Only tools of these groups, such as support,reports.")
@click.option("--workspace", help="Which one, where CONFIG holds several.")
@click.option(
    "--files",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder whose files may be uploaded by their path. Repeatable; else the current one and the temporary one.",
)
@click.pass_context
def mcp(ctx: click.Context, /, configs: tuple[Path, ...], folders: tuple[Path, ...], **given: Any) -> None:
    """Serve the operations of a Gorgias account to an AI agent: MCP over standard input and output.

    CONFIG is a workspace's file, or a folder of them. An MCP client starts this by itself; docs/mcp.md shows how.
    """
    load: Callable[[Sequence[Path]], Settings] = ctx.find_root().obj
    wish = Wish(given["access"], given["resources"], given["tags"])
    roots = tuple(root.resolve() for root in folders or (Path.cwd(), Path(tempfile.gettempdir())))
    if asyncio.run(_until_told(_serve(load(configs), given["workspace"], wish, Files(roots)))):
        ctx.exit(128 + signal.SIGTERM)


async def _serve(settings: Settings, name: str | None, wish: Wish, files: Files) -> None:
    workspace = chosen(settings, name)
    async with Accounts(workspace) as accounts:
        backend = Backend(settings, workspace, accounts)
        box = toolbox(backend, files)
        allowed = policy(wish, box.tools.values(), may_send=backend.may_send)
        session = sdk("server").Session(box, allowed)
        await sdk("stdio").serve(sdk("server").make_server(lambda _request: session))


async def _until_told(serving: Any) -> bool:
    """Serve until the client goes, or SIGTERM or SIGINT comes: True then."""
    task: asyncio.Task[None] = asyncio.ensure_future(serving)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return task.cancelled()
