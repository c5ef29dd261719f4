"""Progress on stderr: bars on a terminal, plain lines elsewhere, nothing for what takes less than two seconds."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from syncd.bench import Report
from syncd.runner import Runner
from syncd.settings import Settings

#: Seconds between two plain lines.
EVERY = 5.0
PATIENCE = 2.0

Show = Callable[[Runner, Report], None]


@contextmanager
def passes(settings: Settings) -> Iterator[Show]:
    """What tells people how far a run of passes is."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        tasks = {workspace.name: bars.add_task(workspace.name, total=None) for workspace in settings.workspaces}

        def show(runner: Runner, report: Report) -> None:
            task = tasks[runner.workspace.name]
            bars.update(task, total=max(report.noticed, report.looked), completed=report.looked)

        yield show


def _lines(console: Console) -> Show:
    started = last = time.monotonic()

    def show(runner: Runner, report: Report) -> None:
        nonlocal last
        now = time.monotonic()
        if now - started < PATIENCE or now - last < EVERY:
            return
        last = now
        writes = sum(report.writes.values())
        console.print(
            f"{runner.workspace.name}: {report.looked} of {report.noticed} tickets, {writes} writes", style=""
        )

    return show
