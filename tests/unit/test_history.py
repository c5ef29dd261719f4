"""What is on record, and when it goes."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from state.history import PART
from state.store import Settlement, Store
from state.tables import ApiCall, Audit, Conflict, Link
from tests.databases import START
from tests.faults.world import World
from tests.processes.shop import Shop

DAY = timedelta(days=1)


async def test_history_goes_by_age_and_a_conflict_only_once_it_is_settled(store_url: str) -> None:
    """Writes, API calls and taken conflicts go after `keep`; what is younger, or waits for a decision, stays."""
    now = [START]
    async with Store(store_url, lambda: now[0]) as store:
        lease = await store.acquire("acme", "me", timedelta(days=900), lambda _holder: True)
        link, _ = await store.begin(lease, Link(workspace="acme", gorgias_id="1", created_at=START), [])
        old = [wrote(link, START) for _ in range(PART + 1)]
        conflicts = [clash(link, "taken"), clash(link, None)]
        await store.settle(lease, Settlement(link=link, audit=old, conflicts=conflicts))
        await store.begin_call(call("acme"), DAY)
        await store.begin_call(call("other"), DAY)
        await store.settle(lease, Settlement(link=link, audit=[wrote(link, START + 50 * DAY)]))
        now[0] = START + 100 * DAY
        assert await store.forget_history(lease) == 0  # nothing is forgotten unless it is said
        store.keep = 80 * DAY
        assert await store.forget_history(lease) == PART + 3
        assert [row.at for row in await store.rows(Audit, "acme")] == [START + 50 * DAY]
        assert [row.taking for row in await store.rows(Conflict, "acme")] == [None]
        assert (len(await store.rows(ApiCall, "acme")), len(await store.rows(ApiCall, "other"))) == (0, 1)
        now[0] += DAY / 2
        store.keep = DAY
        assert await store.forget_history(lease) == 0  # once a day
        now[0] += DAY
        assert await store.forget_history(lease) == 1


def wrote(link: Link, at: datetime) -> Audit:
    """A write on record."""
    return Audit(workspace="acme", link_id=link.id or 0, side="remote", kind="update", what={}, at=at)


def clash(link: Link, taking: str | None) -> Conflict:
    """A conflict."""
    return Conflict(
        workspace="acme", link_id=link.id or 0, field="subject", winner="gorgias", why="", at=START, taking=taking
    )


def call(workspace: str) -> ApiCall:
    """A write through the HTTP API."""
    return ApiCall(workspace=workspace, side="gorgias", token="t", operation="o", path="/p", what={})


async def test_a_pass_forgets_what_is_older_than_the_configuration_says(shop: Shop) -> None:
    """`[store] keep_history`: by default half a year is kept."""
    shop.sandbox.create_ticket("Broken lamp", "It does not glow.")
    config = shop.config()
    await shop.once()
    assert len(shop.rows("audit")) == 1
    config.write_text(config.read_text().replace("[store]", '[store]\nkeep_history = "1ms"'))
    await shop.once()
    assert shop.rows("audit") == []


@pytest.mark.parametrize("on_delete", ["close", "delete"])
async def test_the_end_of_a_copy_is_on_record(sqlite_template: Path, on_delete: str) -> None:
    """Closing says what the status was; deleting says which ticket it was."""
    world = World(sqlite_template, on_delete=on_delete)
    gid = world.gorgias.add_ticket("Lamp", "broken")
    await world.settle()
    (rid,) = world.remote.tickets
    world.gorgias.delete(gid)
    await world.settle()
    last = (await world.rows(Audit))[0]
    await world.close()
    closed = {"field": "status", "before": "New", "after": "Closed"}
    assert (last.side, last.kind) == ("remote", on_delete)
    assert last.what == (closed if on_delete == "close" else {"ticket": rid})
