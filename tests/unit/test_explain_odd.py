"""`syncd explain` on odd tickets: each answer says why it is as it is, in the words of those who work on tickets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from state.tables import Conflict
from syncd.connector import ConnectorConfig
from syncd.errors import Refused, TryLater
from syncd.explain import told
from syncd.settings import Workspace
from tests.faults.world import BOB, Fault, G, R, Steps, World, run_through

#: Words of the code that say nothing to a support lead.
JARGON = ("intent", "dirty", "gid", "snapshot", "tombstone", "base", "Exception", "None")


@asynccontextmanager
async def world(template: Path, **options: Any) -> AsyncIterator[World]:
    """A world for one test."""
    made = World(template, **options)
    try:
        yield made
    finally:
        await made.close()


async def said(world: World, ticket: str, side: Any = G) -> str:
    """Everything that is said about a ticket but the table of its values."""
    nothing = ConnectorConfig()
    workspace = Workspace(
        name="acme", poll_interval=1, file=world.folder / "acme.toml", gorgias=nothing, remote=nothing,
        remote_connector="tracker", sync=world.sync,
    )  # fmt: skip
    accounts = {s: world.connector(desk, s, "acme") for s, desk in world.desks.items()}
    found = await told(await world.store(), workspace, accounts, side, ticket)
    text = "\n".join([*found.sentences, *found.would, *found.waits])
    assert [word for word in JARGON if word in text] == []
    return text


def only(world: World, side: Any) -> str:
    """The id of the one ticket of a side."""
    (ticket_id,) = world.desks[side].tickets
    return str(ticket_id)


def failing(world: World, method: str, error: Exception) -> None:
    """The remote answers one method with an error from now on."""

    async def fault(called: str, _moment: str) -> None:
        if called == method:
            raise error

    world.remote.fault = fault


async def test_a_field_that_is_refused(sqlite_template: Path) -> None:
    """What could not be set, and what the product said."""
    async with world(sqlite_template) as here:
        gid = here.gorgias.add_ticket("Lamp", "broken")
        await here.settle()
        failing(here, "update", Refused("the subject is locked", hint="unlock it"))
        here.gorgias.edit(gid, subject="New lamp")
        await here.passes(2)
        text = await said(here, gid)
        assert "a person must act before syncd can set 'subject' in Tracker: the subject is locked unlock it" in text


async def test_a_conflict_that_was_decided(sqlite_template: Path) -> None:
    """Which field, and where both values stand."""
    async with world(sqlite_template) as here:
        gid = here.gorgias.add_ticket("Lamp", "broken")
        await here.settle()
        here.remote.edit(only(here, R), subject="Theirs")
        here.wait(30)
        here.gorgias.edit(gid, subject="Ours")
        await here.settle()
        assert len(await here.rows(Conflict)) == 1
        assert "Both sides once changed the same fields (subject): see `syncd conflicts`" in await said(here, gid)


async def test_a_ticket_that_waits_for_its_next_try(sqlite_template: Path) -> None:
    """When, and why the last one failed."""
    async with world(sqlite_template) as here:
        gid = here.gorgias.add_ticket("Lamp", "broken")
        await here.settle()
        failing(here, "update", TryLater("Tracker is being maintained", status=503))
        here.gorgias.edit(gid, subject="New lamp")
        await here.passes(1)
        text = await said(here, gid)
        assert "the next try is at 20" in text
        assert "Tracker is being maintained" in text


async def test_a_copy_whose_answer_was_lost(sqlite_template: Path) -> None:
    """It may be there: it is looked for, and not made twice."""
    async with world(sqlite_template, remote={"index_lag": 3600}) as here:
        gid = here.gorgias.add_ticket("Lamp", "broken")
        step = await _step_of(sqlite_template, "remote.create")
        await run_through(here, Fault(step, "after", "crash"), 1)
        here.steps = Steps()
        assert len(here.remote.tickets) == 1
        text = await said(here, gid)
        assert "It is not known yet whether its copy in Tracker was made." in text
        assert "no answer came: the next pass looks whether it arrived, and does not send it twice" in text
        await here.passes(1)
        assert len(here.remote.tickets) == 1
        assert "Both are in step" in await said(here, gid)


async def _step_of(template: Path, what: str) -> int:
    async with world(template, remote={"index_lag": 3600}) as other:
        other.gorgias.add_ticket("Lamp", "broken")
        return (await run_through(other, None, 1)).trail.index(what) + 1


async def test_one_of_two_was_deleted(sqlite_template: Path) -> None:
    """From either side."""
    async with world(sqlite_template) as here:
        gid = here.gorgias.add_ticket("Lamp", "broken")
        await here.settle()
        here.gorgias.delete(gid)
        await here.settle()
        text = await said(here, gid)
        assert f"Gorgias ticket {gid} does not exist, or not any more." in text
        assert "a deleted ticket is never made again" in text
        other = await said(here, only(here, R), R)
        assert "One of the two was deleted: changes are not carried over any more." in other


async def test_a_ticket_that_was_merged(sqlite_template: Path) -> None:
    """Into which one."""
    async with world(sqlite_template) as here:
        gid, into = here.gorgias.add_ticket("Lamp", "broken"), here.gorgias.add_ticket("Lamp again", "broken")
        await here.settle()
        here.gorgias.merge(gid, into)
        await here.settle()
        text = await said(here, gid)
        assert f"Gorgias ticket {gid} was merged into Gorgias ticket {into}: ask about that one." in text
        assert "is known to be deleted" not in text


async def test_a_ticket_without_the_tag(sqlite_template: Path) -> None:
    """Which tag it would need."""
    async with world(sqlite_template, tags=("engineering",)) as here:
        gid = here.gorgias.add_ticket("Lamp", "broken")
        await here.settle()
        assert "it carries none of the tags that [sync] tags asks for (engineering)" in await said(here, gid)


async def test_an_assignee_whom_the_other_side_does_not_have(sqlite_template: Path) -> None:
    """By name, and what to do."""
    async with world(sqlite_template, remote={"users": ()}) as here:
        gid = here.gorgias.add_ticket("Lamp", "broken")
        here.gorgias.edit(gid, assignee="1")
        await here.settle()
        text = await said(here, gid)
        assert "it is assigned to Ann Agent in Gorgias, and Tracker has nobody of that e-mail address" in text


@pytest.mark.parametrize(("side", "product"), [(G, "Gorgias"), (R, "Tracker")])
async def test_a_number_that_is_nowhere(sqlite_template: Path, side: Any, product: str) -> None:
    """Neither in the product nor on record."""
    async with world(sqlite_template) as here:
        await here.settle()
        text = await said(here, "4711", side)
        assert f"{product} ticket 4711 does not exist, or not any more." in text
        assert "It never had a copy: is the number right, and the product?" in text


async def test_a_direction_that_lets_nothing_through(sqlite_template: Path) -> None:
    """A change on the other side stays there; a new ticket gets no copy."""
    async with world(sqlite_template, direction="to_remote") as here:
        gid = here.gorgias.add_ticket("Lamp", "broken")
        await here.settle()
        here.remote.edit(only(here, R), subject="Theirs")
        await here.settle()
        text = await said(here, gid)
        assert "The two differ (subject), and nothing would be written: [sync] direction is to_remote" in text
        rid = here.remote.add_ticket("Pump", "leaks", author=BOB)
        await here.settle()
        assert "[sync] direction is to_remote, so nothing is made in Gorgias" in await said(here, rid, R)


async def test_a_file_that_is_too_large(sqlite_template: Path) -> None:
    """Which file, and where it stays."""
    async with world(sqlite_template, max_attachment=100) as here:
        rid = here.remote.add_ticket("Photos", "first", author=BOB, files={"big.bin": b"x" * 200})
        await here.settle()
        text = await said(here, rid, R)
        assert "The file 'big.bin' in Tracker (200 bytes) is larger than [sync] max_attachment (100)" in text


async def test_a_field_that_never_comes_to_rest(sqlite_template: Path) -> None:
    """How often it was written, and what may be the reason."""
    async with world(sqlite_template, loop_limit=2) as here:
        gid = here.gorgias.add_ticket("Lamp", "broken")
        await here.settle()
        rid, numbers = only(here, R), iter(range(100))

        def fight() -> None:
            here.remote.edit(rid, subject=f"theirs {next(numbers)}")
            here.wait(10)
            here.gorgias.edit(gid, subject=f"ours {next(numbers)}")

        await here.passes(6, between=fight)
        text = await said(here, gid)
        assert "subject was written 2 times within 10 minutes: this looks like a loop" in text
        assert "something else changes it back each time" in text
