"""How the workspaces of this process are, for the web part: health by workspace and side, and the gauges."""

from collections.abc import Sequence

from state.store import Store
from state.tables import Dirty
from state.tables import Parked as ParkedRow
from syncd import log, wording
from syncd.crew import Crew
from syncd.errors import SyncdError
from syncd.metrics import Metrics
from syncd.model import Side
from syncd.runner import Runner, utc_now
from syncd.web.health import Parked, SideHealth, WorkspaceHealth

#: How many parked writes a page lists.
SHOWN = 50


class Vitals:
    """Looks at a crew and its store. Its methods raise StoreError."""

    def __init__(self, crew: Crew, store: Store, metrics: Metrics) -> None:
        self._crew, self._store, self._metrics = crew, store, metrics

    async def workspaces(self) -> Sequence[WorkspaceHealth]:
        """All workspaces, by name; one that is kept out is not ready."""
        # Both at one moment: a workspace that goes from the one to the other must not be missed.
        runners, kept_out = list(self._crew.runners.values()), list(self._crew.kept_out.items())
        found = [await self._health(runner) for runner in runners]
        found += [await self._kept_out(name, error) for name, error in kept_out]
        return sorted(found, key=lambda workspace: workspace.name)

    async def _kept_out(self, name: str, error: SyncdError) -> WorkspaceHealth:
        counts = await self._store.counts(name)
        return WorkspaceHealth(
            name=name,
            ready=False,
            reason=log.masked(str(error)),
            linked=counts["links"],
            dirty=counts["dirty"],
            waiting=counts["waiting"],
            conflicts=counts["conflicts"],
            parked_total=counts["parked"],
        )

    async def _health(self, runner: Runner) -> WorkspaceHealth:
        name = runner.workspace.name
        counts = await self._store.counts(name)
        lags = await self.lags(name)
        return WorkspaceHealth(
            name=name,
            ready=not runner.trouble,
            reason=runner.trouble,
            sides=tuple(_side(runner, side, lags.get(side, 0.0)) for side in Side),
            linked=counts["links"],
            dirty=counts["dirty"],
            waiting=counts["waiting"],
            conflicts=counts["conflicts"],
            parked=tuple(await self._parked(runner)),
            parked_total=counts["parked"],
            last_success=runner.last_success,
        )

    async def _parked(self, runner: Runner) -> list[Parked]:
        name, products = runner.workspace.name, wording.products(runner.workspace)
        rows = await self._store.rows(ParkedRow, name, SHOWN)
        tickets = await self._store.tickets(name, [row.link_id for row in rows])
        return [
            Parked(
                tickets.get(row.link_id, "?"),
                wording.parked(row.what, products),
                log.masked(f"{row.reason} {row.hint}".strip()),
                row.since,
            )
            for row in rows
        ]

    async def lags(self, name: str) -> dict[Side, float]:
        """How old the oldest change is that is not carried over yet, in seconds by side."""
        oldest: dict[Side, float] = {}
        now = utc_now()
        for row in await self._store.rows(Dirty, name):
            side = Side(row.side)
            oldest[side] = max(oldest.get(side, 0.0), (now - row.noticed_at).total_seconds())
        return oldest

    async def measure(self) -> None:
        """Bring the gauges up to date."""
        for name, runner in list(self._crew.runners.items()):
            self._sides(runner)
            counts = await self._store.counts(name)
            self._metrics.linked(name, counts["links"])
            self._metrics.queue(name, "dirty", counts["dirty"])
            self._metrics.queue(name, "waiting", counts["waiting"])
            self._metrics.queue(name, "parked", counts["parked"])
            lags = await self.lags(name)
            for side in Side:
                self._metrics.lag(name, side, lags.get(side, 0.0))

    def _sides(self, runner: Runner) -> None:
        """What is counted in memory, and is worth reading above all when the store is away."""
        name = runner.workspace.name
        configs = {Side.GORGIAS: runner.workspace.gorgias, Side.REMOTE: runner.workspace.remote}
        for side, account in runner.accounts.items():
            self._metrics.up(name, side, side not in runner.last.down)
            if end := configs[side].credentials_end():
                self._metrics.credentials(name, side, end.timestamp())
            if account.transport:
                self._metrics.calls(name, side, account.transport.counters.calls)
                if account.transport.gate:
                    self._metrics.bucket(name, side, account.transport.gate.used)


def _side(runner: Runner, side: Side, lag: float) -> SideHealth:
    account = runner.accounts[side]
    gate = account.transport.gate if account.transport else None
    down = log.masked(runner.last.down.get(side, ""))
    return SideHealth(side, account.name, not down, down, runner.since.get(side), lag, gate.used if gate else 0.0)
