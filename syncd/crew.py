"""The workspaces of one process: each is worked on by a runner, or kept out for a reason and tried again.

What befalls one of them stays with it: a lease that another process holds, an account that is down, a defect.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from state.store import Store
from syncd import log
from syncd.bench import Report
from syncd.errors import LeaseHeld, SyncdError
from syncd.metrics import Metrics
from syncd.model import Side
from syncd.runner import Runner, running, utc_now
from syncd.schedule import Scheduler
from syncd.settings import Workspace

logger = log.get(__name__)


class Crew:
    """Runs passes of every workspace at its interval. `news` is called when a workspace is lost or begun."""

    def __init__(self, store: Store, folder: Path, metrics: Metrics, news: Callable[[], None]) -> None:
        self.runners: dict[str, Runner] = {}
        self.kept_out: dict[str, SyncdError] = {}
        self._wanted: dict[str, Workspace] = {}
        self._open: dict[str, AsyncExitStack] = {}
        self._store, self._folder, self._metrics, self._news = store, folder, metrics, news
        self._scheduler = Scheduler()
        self._changing = asyncio.Lock()
        self._outages = log.Transitions(logger)

    @property
    def grace(self) -> float:
        """How long work under way may take to end, in seconds."""
        return max((workspace.sync.grace_period for workspace in self._wanted.values()), default=20.0)

    async def begin(self, workspaces: Sequence[Workspace]) -> None:
        """Take up every workspace that can be; the others are tried again at their intervals."""
        for workspace in workspaces:
            self._wanted[workspace.name] = workspace
            await self._begin(workspace.name)
            self._scheduler.add(workspace.name, workspace.poll_interval, partial(self._tick, workspace.name))

    def start(self) -> None:
        """Start the clock."""
        self._scheduler.start()

    async def change(self, workspaces: Sequence[Workspace]) -> list[str]:
        """Have these workspaces and no others from now on; what stays as it was is left alone. Names what changed."""
        wanted = {workspace.name: workspace for workspace in workspaces}
        changed = [name for name, former in self._wanted.items() if wanted.get(name) != former]
        for name in changed:
            self._scheduler.remove(name)
            del self._wanted[name]
        await asyncio.gather(*(self._end(name, self.grace) for name in changed))
        added = [workspace for name, workspace in wanted.items() if name not in self._wanted]
        await self.begin(added)
        return sorted({*changed, *(workspace.name for workspace in added)})

    def wake(self, name: str, side: Side) -> None:
        """Look now: this side has said something."""
        if runner := self.runners.get(name):
            runner.wake(side)
        self._scheduler.wake(name)

    async def stop(self, hurry: asyncio.Event) -> bool:
        """Let work under way end within the grace period, or until `hurry` is set; True when none was cut off."""
        for runner in self.runners.values():
            runner.finish()
        ending = asyncio.create_task(self._scheduler.stop(self.grace))
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait({ending, hurried}, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        if ending.done():
            return ending.result()
        ending.cancel()
        return await self._scheduler.stop(0.0)

    async def close(self) -> None:
        """Let every workspace go."""
        await asyncio.gather(*(self._end(name, 0.0) for name in list(self._open)))

    # -- one workspace ----------------------------------------------------------------------------------------------

    async def _tick(self, name: str) -> None:
        runner = self.runners.get(name) or await self._begin(name)
        if runner is None:
            return
        report = await runner.look()
        self._count(runner, report)
        if runner.lost.is_set():
            await self._end(name, 0.0, LeaseHeld(runner.trouble))
            self._news()

    async def _begin(self, name: str) -> Runner | None:
        async with self._changing:
            workspace = self._wanted.get(name)
            if workspace is None or name in self.runners:
                return self.runners.get(name)
            stack = AsyncExitStack()
            try:
                runner = await stack.enter_async_context(running(workspace, self._store, self._folder))
            except SyncdError as error:
                self._keep_out(name, error)
                return None
            except Exception as error:  # noqa: BLE001 - a defect stays with its workspace: the others go on
                self._keep_out(name, SyncdError(f"a defect of syncd: {type(error).__name__}: {error}"), exc_info=error)
                return None
            self._outages.recovered(name, "the workspace is worked on here now", workspace=name)
            self.kept_out.pop(name, None)
            self._open[name], self.runners[name] = stack, runner
        self._news()
        return runner

    def _keep_out(self, name: str, error: SyncdError, **details: Any) -> None:
        self._outages.failed(name, "a workspace is kept out; the others go on", error, workspace=name, **details)
        self.kept_out[name] = error

    async def _end(self, name: str, grace: float, lost: LeaseHeld | None = None) -> None:
        async with self._changing:
            # No await between the two: whoever asks for the workspaces in the meantime must see this one.
            runner, stack = self.runners.pop(name, None), self._open.pop(name, None)
            self.kept_out.pop(name, None)
            if lost:
                self.kept_out[name] = lost
        self._metrics.forget(name)
        if runner and not await runner.stop(grace):
            logger.warning("work under way was cut off", workspace=name)
        if stack:
            await stack.aclose()

    def _count(self, runner: Runner, report: Report | None) -> None:
        name = runner.workspace.name
        if report is None:
            if runner.trouble:
                self._metrics.failed(name, runner.seconds)
            return
        for (side, kind), count in report.writes.items():
            for _ in range(count):
                self._metrics.wrote(name, side, kind)
        for _ in range(report.conflicts):
            self._metrics.conflict(name)
        if report.down or report.guard:
            self._metrics.failed(name, runner.seconds)
        else:
            self._metrics.passed(name, runner.seconds, utc_now().timestamp())
