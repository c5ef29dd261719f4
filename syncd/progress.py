"""Progress on stderr: bars on a terminal, plain lines elsewhere, nothing for what takes less than two seconds."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from syncd.passes import Progress as Show
from syncd.passes import Step

#: Seconds between two plain lines.
EVERY = 5.0
#: What takes less than this many seconds is not worth a word.
PATIENCE = 2.0


@contextmanager
def passes(console: Console | None = None) -> Iterator[Show]:
    """What tells people how far a run of passes is."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _lines(console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[writes]} writes"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        yield _bars(bars)


def _bars(bars: Progress) -> Show:
    started = time.monotonic()
    tasks: dict[str, TaskID] = {}

    def show(step: Step) -> None:
        if time.monotonic() - started < PATIENCE:
            return
        if step.workspace not in tasks:
            tasks[step.workspace] = bars.add_task(step.workspace, total=None, writes=0)
        total = (step.looked + step.left) or None
        bars.update(tasks[step.workspace], total=total, completed=step.looked, writes=step.writes)

    return show


def _lines(console: Console) -> Show:
    started = time.monotonic()
    said: dict[str, float] = {}

    def show(step: Step) -> None:
        now = time.monotonic()
        if not step.looked or now - started < PATIENCE or now - said.get(step.workspace, now - EVERY) < EVERY:
            return
        said[step.workspace] = now
        done, total = step.looked, step.looked + step.left
        left = f", about {_span((now - started) / done * step.left)} left" if done and step.left else ""
        console.print(
            f"{step.workspace}: {done} of {total} tickets, {step.writes} writes{left}", highlight=False, soft_wrap=True
        )

    return show


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(1.0, seconds):.0f} s"
