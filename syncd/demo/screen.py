"""What the demo shows: headings, a live bar while syncd works, and both sides of every ticket."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from syncd import text
from syncd.connector import Vocabulary
from syncd.demo.story import Deed
from syncd.model import Side, Ticket
from syncd.passes import Outcome
from syncd.runner import Runner

COLOURS = {Side.GORGIAS: "cyan", Side.REMOTE: "magenta"}
SIDES = {Side.GORGIAS: "Gorgias", Side.REMOTE: "tracker"}
#: Seconds between two looks at how far a pass is, and between two lines about it where there is no terminal.
BLINK, EVERY = 0.1, 2.0
WIDTH = 118
#: What the columns beside the subject need, what of it the tags may take, and the least that is left for the subject.
OTHERS, TAGS, SUBJECT = 90, 19, 14


@dataclass(frozen=True, slots=True)
class Row:
    """A ticket on both sides, and whether they say the same."""

    tickets: Mapping[Side, Ticket]
    same: bool


class Screen:
    """Everything that is printed."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        if not self.console.is_terminal:
            self.console.width = max(self.console.width, WIDTH)

    def title(self) -> None:
        """The first line."""
        self.say(
            "[bold]syncd[/] keeps the tickets of a Gorgias account and of a tracker the same. Both run on this machine "
            "now, as processes of their own."
        )

    def heading(self, words: str) -> None:
        """The beginning of a part."""
        self.say(f"\n[bold]{words}[/]")

    def say(self, line: str) -> None:
        """A line, with markup."""
        self.console.print(line, soft_wrap=not self.console.is_terminal)

    def deed(self, deed: Deed) -> None:
        """Somebody did something."""
        colour = {"Gorgias": "cyan", "tracker": "magenta"}.get(deed.side, "yellow")
        self.say(f"  [{colour}]{deed.side:<8}[/] {escape(deed.who)} {escape(deed.what)}")

    @asynccontextmanager
    async def watched(self, runner: Runner) -> AsyncIterator[None]:
        """Show how far the passes are while the block runs."""
        watch = self._bar if self.console.is_terminal else self._lines
        task = asyncio.create_task(watch(runner))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _bar(self, runner: Runner) -> None:
        columns = (SpinnerColumn(), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        with Progress(*columns, console=self.console, transient=True) as bars:
            task = bars.add_task("reading both sides", total=None)
            while True:
                report = runner.engine.bench.report
                total = max(report.noticed, report.looked) or None
                bars.update(task, total=total, completed=report.looked, description=_written(runner))
                await asyncio.sleep(BLINK)

    async def _lines(self, runner: Runner) -> None:
        said = ""
        while True:
            await asyncio.sleep(EVERY)
            report = runner.engine.bench.report
            line = f"  {report.looked} of {max(report.noticed, report.looked)} tickets, {_written(runner)}"
            if report.noticed and line != said:
                self.say(line)
                said = line

    def outcome(self, outcome: Outcome, seconds: float, calls: Mapping[Side, int]) -> None:
        """What the passes came to."""
        writes = sum(outcome.writes.values())
        used = ", ".join(f"{number} to {SIDES[side]}" for side, number in calls.items())
        conflicts = f", {_count(outcome.conflicts, 'conflict')} decided" if outcome.conflicts else ""
        mark = "[green]✓[/]" if outcome.in_step else "[red]✗[/]"
        done = f"{outcome.links} tickets linked, {writes} writes{conflicts}"
        self.say(f"  {mark} {done} in {seconds:.1f} s; calls: {used}")
        for problem in outcome.problems:
            self.say(f"  [red]{escape(problem)}[/]")

    def both_sides(self, rows: Iterable[Row], words: Mapping[Side, Vocabulary]) -> None:
        """A table with two lines a ticket: Gorgias above, the tracker below."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, row_styles=["", "on grey7"], collapse_padding=True)
        for name in ("", "ticket", "subject", "status", "priority", "assignee", "tags"):
            table.add_column(name, no_wrap=True)
        for name in ("comments", "files"):
            table.add_column(name, no_wrap=True, justify="right")
        subject = max(SUBJECT, self.console.width - OTHERS)
        for row in rows:
            cells = {side: _cells(side, ticket, words[side], subject) for side, ticket in row.tickets.items()}
            lines = zip(*(_coloured(side, cells[side]) for side in Side), strict=True)
            table.add_row("[green]=[/]" if row.same else "[red]≠[/]", *("\n".join(pair) for pair in lines))
        self.console.print(table)


def _coloured(side: Side, cells: Iterable[str]) -> Iterable[str]:
    return [f"[{COLOURS[side]}]{escape(cell)}[/]" for cell in cells]


def _cells(side: Side, ticket: Ticket, words: Vocabulary, subject: int) -> tuple[str, ...]:
    """One side of a ticket in one line."""
    people = {user.id: user.name for user in words.users}
    comments = ticket.comments or ()
    return (
        ticket.id if side is Side.GORGIAS else f"issue{ticket.id}",
        text.shorten(ticket.subject, subject),
        ticket.status or "-",
        ticket.priority or "-",
        people.get(ticket.assignee or "", "-"),
        text.shorten(", ".join(sorted(ticket.tags)) or "-", TAGS),
        str(len(comments)),
        str(sum(len(comment.attachments) for comment in comments)),
    )


def _written(runner: Runner) -> str:
    writes = runner.engine.bench.report.writes
    by_side = {side: sum(number for (at, _), number in writes.items() if at is side) for side in Side}
    return ", ".join(f"{_count(by_side[side], 'write')} to {SIDES[side]}" for side in Side)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
