"""Passes until nothing is left to do: `syncd once` and `syncd backfill`."""

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from state.store import Store
from syncd.bench import Report
from syncd.runner import Runner, running, utc_now
from syncd.settings import Settings, Workspace

#: How long `once` waits for tickets that want to be tried again soon, and for a side that is down.
PATIENCE = 180.0
#: A workspace whose sides change faster than this many passes is left to the daemon.
MAX_PASSES = 200
#: How often a side that is down is tried before `once` gives up, and the pause before each (seconds).
DOWN_PAUSES = (2.0, 5.0, 10.0)

Progress = Callable[[Runner, Report], None]


@dataclass(slots=True)
class Outcome:
    """What a run of passes came to; `in_step` says that nothing waits and nothing is parked."""

    workspace: str
    passes: int = 0
    looked: int = 0
    writes: dict[str, int] = field(default_factory=dict)
    conflicts: int = 0
    parked: int = 0
    waiting: int = 0
    links: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def in_step(self) -> bool:
        """Whether both sides are the same, as far as syncd can make them."""
        return not (self.problems or self.parked or self.waiting)

    @property
    def exit_code(self) -> int:
        """0 all in step, 3 something waits for a person, 1 otherwise."""
        return 1 if self.problems or self.waiting else 3 if self.parked else 0


async def once(
    settings: Settings, *, force: bool = False, progress: Progress = lambda _runner, _report: None
) -> list[Outcome]:
    """Bring every workspace into step. Raises LeaseHeld, StoreError."""
    with tempfile.TemporaryDirectory(prefix="syncd-") as folder:
        async with Store(settings.store.url.get_secret_value(), utc_now) as store:
            work = [_once(workspace, store, Path(folder), force, progress) for workspace in settings.workspaces]
            return list(await asyncio.gather(*work))


async def _once(workspace: Workspace, store: Store, folder: Path, force: bool, progress: Progress) -> Outcome:
    async with running(workspace, store, folder) as runner:
        runner.engine.bench.force = force
        return await passes(runner, progress)


async def passes(runner: Runner, progress: Progress = lambda _runner, _report: None) -> Outcome:
    """Pass after pass until one writes nothing and nothing wants to be tried again soon."""
    outcome = Outcome(runner.workspace.name)
    pauses = iter(DOWN_PAUSES)
    patience = PATIENCE
    for _ in range(MAX_PASSES):
        report = await runner.look(force=True)
        if report is None:
            outcome.problems = [str(error.reason) for error in (runner.outages[key] for key in runner.outages)]
            break
        outcome.passes += 1
        _add(outcome, report)
        progress(runner, report)
        if report.guard:
            outcome.problems = [report.guard]
            break
        if report.down:
            pause = next(pauses, None)
            if pause is None:
                outcome.problems = [f"{side}: {why}" for side, why in report.down.items()]
                break
        elif report.writes or report.failed:
            pause = 0.0
        else:
            pause = await _next_try(runner, patience)
            if pause is None:
                break
        patience -= pause
        await asyncio.sleep(pause)
    counts = await runner.store.counts(runner.workspace.name)
    outcome.links, outcome.parked = counts["links"], counts["parked"]
    outcome.waiting = max(0, counts["dirty"] - counts["parked"]) if not outcome.problems else counts["dirty"]
    return outcome


async def _next_try(runner: Runner, patience: float) -> float | None:
    """How long until a waiting ticket wants another try; None when that is too long, or nothing waits."""
    due = await runner.store.next_due(runner.workspace.name)
    if due is None:
        return None
    wait = max(0.2, (due - utc_now()).total_seconds())
    return wait if wait <= patience else None


def _add(outcome: Outcome, report: Report) -> None:
    outcome.looked += report.looked
    outcome.conflicts += report.conflicts
    for (side, kind), number in report.writes.items():
        outcome.writes[f"{side}.{kind}"] = outcome.writes.get(f"{side}.{kind}", 0) + number
