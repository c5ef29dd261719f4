"""`syncd demo`: two products on loopback, kept in step by the real engine, and a look whether they really agree."""

import asyncio
import importlib.util
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from state.store import Store
from state.tables import Dirty
from syncd import compare, config, log
from syncd.bench import digest
from syncd.connector import Connector, Vocabulary
from syncd.demo.helpdesk import Helpdesk, HelpdeskServer, helpdesk_server
from syncd.demo.roundup_tracker import RoundupServer, roundup_server
from syncd.demo.screen import Row, Screen
from syncd.demo.story import open_issues, working_day
from syncd.demo.tracker import COLLEAGUES, Tracker
from syncd.errors import SyncdError
from syncd.model import Side
from syncd.passes import Outcome, passes
from syncd.plan import Rules
from syncd.runner import Runner, account, running, utc_now
from syncd.settings import Settings, Workspace
from syncd.translate import Translation

TICKETS = 12
TERMINATED = "terminated"
#: Seconds for one synchronisation, which takes a few.
PATIENCE = 60
CONFIG = """# The demo's workspace: what `syncd once` and `syncd run` take.
[workspace]
name = "demo"
poll_interval = "2s"

[store]
url = "sqlite:///demo.db"

[log]
level = "warning"

[gorgias]
base_url = "{gorgias.url}"
email = "{gorgias.email}"
api_key = "{gorgias.api_key}"

[remote]
connector = "roundup"
url = "{tracker.url}"
user = "{tracker.user}"
password = "{tracker.password}"
fields = {{ severity = "string", points = "number", billable = "boolean" }}

[sync.status]
open = ["chatting", "unread", "in-progress", "need-eg", "testing", "deferred"]
closed = ["resolved", "done-cbb"]

[sync.priority]
low = "wish"
normal = ["bug", "feature"]
high = "urgent"
critical = "critical"

[sync.fields]
"Contact reason" = "severity"
"Items affected" = "points"
"Refund approved" = "billable"
"""
#: Commands to try while both products are up.
TO_TRY = (
    "syncd run demo.toml                # keeps both in step from now on",
    "syncd conflicts demo.toml          # what both sides had changed, and who won",
    "syncd explain 1001 demo.toml       # why a ticket is as it is",
    "syncd gorgias --config demo.toml list_all_gorgias_tickets --limit 3",
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a fresh look at both accounts showed."""

    readings: Mapping[Side, compare.Reading]
    words: Mapping[Side, Vocabulary]
    links: list[tuple[str, str]]
    differences: list[str]


async def demo(*, keep: bool = False, screen: Screen | None = None) -> int:
    """The whole demo; 0 when both sides agree at its end, else 1."""
    if importlib.util.find_spec("roundup") is None:
        raise SyncdError("the demo's tracker is not installed", hint="pip install '.[demo]', or make demo")
    playing = asyncio.create_task(_play(keep, screen or Screen()))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, playing.cancel, TERMINATED)
    try:
        return await playing
    except asyncio.CancelledError as error:
        if TERMINATED not in error.args:
            raise
        return 128 + signal.SIGTERM


async def _play(keep: bool, screen: Screen) -> int:
    async with AsyncExitStack() as stack:
        folder = await stack.enter_async_context(_folder(keep))
        return await _in(folder, keep, screen, stack)


async def _in(folder: Path, keep: bool, screen: Screen, stack: AsyncExitStack) -> int:
    started = time.monotonic()
    screen.title()
    screen.heading("Two products")
    gorgias, tracker = await _served(stack, folder)
    helpdesk = await stack.enter_async_context(Helpdesk.open(gorgias))
    hands = await stack.enter_async_context(Tracker.open(tracker))
    issues = await open_issues(hands)
    screen.say(f"  [cyan]Gorgias [/] {gorgias.url}   a sandbox with {len(await helpdesk.tickets())} tickets of a shop")
    screen.say(f"  [magenta]tracker [/] {tracker.url}  a Roundup with {issues} issues of its own")
    settings = _settings(folder, gorgias, tracker)
    calls: Counter[Side] = Counter()

    screen.heading("First synchronisation")
    outcomes = [await _synchronised(settings, screen, calls)]
    screen.heading("A working day: people act on both sides")
    async for deed in working_day(helpdesk, hands):
        screen.deed(deed)
    screen.heading("Second synchronisation")
    outcomes.append(await _synchronised(settings, screen, calls))

    screen.heading("Both sides, read afresh")
    verdict = await _looked(settings.workspaces[0])
    _show(verdict, screen)
    mailed = await helpdesk.mailed()
    _sum_up(verdict, outcomes, calls, mailed, screen)
    screen.say(f"  done in {time.monotonic() - started:.1f} s")
    if keep:
        await _kept(folder, gorgias, tracker, screen)
    return 0 if not verdict.differences and not mailed and all(one.in_step for one in outcomes) else 1


@asynccontextmanager
async def _folder(keep: bool) -> AsyncIterator[Path]:
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="syncd-demo-"))
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


async def _served(stack: AsyncExitStack, folder: Path) -> tuple[HelpdeskServer, RoundupServer]:
    """Both servers; they start side by side and end in any case."""
    try:
        async with asyncio.TaskGroup() as group:
            gorgias = group.create_task(stack.enter_async_context(helpdesk_server(TICKETS)))
            tracker = group.create_task(stack.enter_async_context(roundup_server(folder / "tracker")))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed
    return gorgias.result(), tracker.result()


def _settings(folder: Path, gorgias: HelpdeskServer, tracker: RoundupServer) -> Settings:
    path = folder / "demo.toml"
    path.write_text(CONFIG.format(gorgias=gorgias, tracker=tracker), encoding="utf-8")
    settings = config.load([path])
    log.hide_all(settings)
    log.configure(settings.log.level, settings.log.format)
    return settings


async def _synchronised(settings: Settings, screen: Screen, calls: Counter[Side]) -> Outcome:
    """What `syncd once` does, watched."""
    started, workspace = time.monotonic(), settings.workspaces[0]
    async with (
        Store(settings.store.url.get_secret_value(), utc_now) as store,
        running(workspace, store, workspace.file.parent) as runner,
    ):
        async with screen.watched(runner):
            outcome = await _patiently(runner)
        used = {side: _calls(connector) for side, connector in runner.accounts.items()}
    calls.update(used)
    screen.outcome(outcome, time.monotonic() - started, used)
    return outcome


async def _patiently(runner: Runner) -> Outcome:
    """Pass until nothing is left to do, but not for ever: a demo that hangs shows nothing."""
    try:
        return await asyncio.wait_for(passes(runner), PATIENCE)
    except TimeoutError:
        waits = await runner.store.rows(Dirty, runner.workspace.name)
        problems = [f"{row.side} {row.ticket_id} waits: {row.error}" for row in waits if row.error]
        return Outcome(
            runner.workspace.name, waiting=len(waits), problems=[f"not in step after {PATIENCE} s", *problems]
        )


def _calls(connector: Connector) -> int:
    return sum(connector.transport.counters.calls.values()) if connector.transport else 0


async def _looked(workspace: Workspace) -> Verdict:
    """Both accounts, read from their beginnings by new connectors, and compared."""
    async with AsyncExitStack() as stack:
        accounts = {side: await stack.enter_async_context(account(workspace, side)) for side in Side}
        words = {side: await connector.vocabulary() for side, connector in accounts.items()}
        rules = Rules(workspace.name, Translation(workspace.sync, accounts, words), digest)
        read = await asyncio.gather(*(compare.read(accounts[side]) for side in Side))
    readings = dict(zip(Side, read, strict=True))
    links = sorted(compare.linked(rules, *read))
    return Verdict(readings, words, links, compare.differences(rules, *read))


def _show(verdict: Verdict, screen: Screen) -> None:
    tickets = {side: {ticket.id: ticket for ticket in verdict.readings[side].tickets} for side in Side}
    rows = []
    for gorgias, remote in verdict.links:
        differ = any(sentence.startswith(f"{gorgias} = {remote}:") for sentence in verdict.differences)
        found = {Side.GORGIAS: tickets[Side.GORGIAS][gorgias], Side.REMOTE: tickets[Side.REMOTE][remote]}
        rows.append(Row(found, not differ))
    screen.both_sides(rows, verdict.words)


def _sum_up(verdict: Verdict, outcomes: list[Outcome], calls: Mapping[Side, int], mailed: int, screen: Screen) -> None:
    for sentence in verdict.differences:
        screen.say(f"  [red]✗[/] {sentence}")
    comments = [comment for ticket in verdict.readings[Side.GORGIAS].tickets for comment in ticket.comments or ()]
    files = sum(len(comment.attachments) for comment in comments)
    agree = "[green]✓ both sides agree[/]" if not verdict.differences else "[red]✗ the sides do not agree[/]"
    screen.say(
        f"  {agree}: {len(verdict.links)} tickets, {len(comments)} comments, {files} files; "
        f"{sum(sum(one.writes.values()) for one in outcomes)} writes, {sum(calls.values())} calls; "
        f"customers mailed: {mailed}"
    )


async def _kept(folder: Path, gorgias: HelpdeskServer, tracker: RoundupServer, screen: Screen) -> None:
    """Leave both products up, and say how to get in."""
    logins = ", ".join(login for login, _, _ in COLLEAGUES)
    screen.heading("Both stay up until Ctrl-C")
    screen.say(f"  [magenta]tracker[/]  {tracker.url} as {logins} or {tracker.admin}, password {tracker.password}")
    screen.say(f"  [cyan]Gorgias[/]  {gorgias.url}/api as {gorgias.email}, key {gorgias.api_key}")
    screen.say("\n  In another shell:")
    for line in (f"cd {folder}", *TO_TRY):
        screen.say(f"    {line}")
    await asyncio.Event().wait()
