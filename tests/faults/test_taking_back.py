"""The loser of a conflict, taken back: as if a person had set it, once, while nobody changed the field again."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from state.tables import Audit, Conflict
from syncd.errors import Refused
from tests.faults.world import Fault, G, R, World, run_through


@pytest.fixture
async def world(sqlite_template: Path) -> AsyncIterator[World]:
    """A world in which a subject was changed on both sides, and Gorgias' change won."""
    made = World(sqlite_template)
    await clash(made)
    yield made
    await made.close()


async def clash(world: World) -> None:
    """A ticket whose subject both sides change; Gorgias later."""
    gid = world.gorgias.add_ticket("Old", "x")
    await world.settle()
    world.remote.edit(only(world, R), subject="From remote")
    world.wait(30)
    world.gorgias.edit(gid, subject="From gorgias")
    world.wait(30)
    await world.settle()
    assert subjects(world) == ["From gorgias", "From gorgias"]


def only(world: World, side: str) -> str:
    """The id of the one ticket of a side."""
    (ticket_id,) = world.desks[side].tickets
    return ticket_id


def subjects(world: World) -> list[str]:
    """The subject on both sides."""
    return [world.desks[side].tickets[only(world, side)].subject for side in (G, R)]


async def ask(world: World) -> None:
    """A person wants the other value back."""
    (row,) = await world.rows(Conflict)
    await (await world.store()).ask_back("acme", row.id, G, only(world, G))
    world.wait(30)


async def answer(world: World) -> tuple[str, str]:
    """What became of it."""
    (row,) = await world.rows(Conflict)
    return row.taking, row.said


@pytest.mark.promise("P13")
async def test_the_loser_is_set_on_both_sides_once(world: World) -> None:
    """Both show it, the conflict is marked, both writes are on record; asking again changes nothing."""
    await ask(world)
    await world.settle()
    assert subjects(world) == ["From remote", "From remote"]
    assert await answer(world) == ("taken", "")
    trail = sorted(await world.rows(Audit), key=lambda row: row.id)[-2:]
    both = [(row.side, row.what["before"], row.what["after"]) for row in trail]
    assert both == [("remote", "From gorgias", "From remote"), ("gorgias", "From gorgias", "From remote")]
    written = world.written()
    await ask(world)
    await world.settle()
    assert (subjects(world), world.written()) == (["From remote", "From remote"], written)


@pytest.mark.promise("P13")
async def test_a_field_that_was_changed_again_is_left_alone(world: World) -> None:
    """Whatever a person set since stands on both sides, and it is said why nothing was done."""
    world.gorgias.edit(only(world, G), subject="Newer")
    await ask(world)
    await world.settle()
    assert subjects(world) == ["Newer", "Newer"]
    taking, said = await answer(world)
    assert (taking, "changed again" in said) == ("refused", True)


@pytest.mark.promise("P13")
async def test_a_product_that_refuses_the_value_keeps_what_it_has(world: World) -> None:
    """Its sentence is kept for `syncd conflicts`."""

    async def refuse(method: str, _moment: str) -> None:
        if method == "update":
            raise Refused("the subject is locked")

    was, world.remote.fault = world.remote.fault, refuse
    await ask(world)
    await world.settle()
    world.remote.fault = was
    assert subjects(world) == ["From gorgias", "From gorgias"]
    assert await answer(world) == ("refused", "the subject is locked")


@pytest.mark.promise("P13", "P5")
async def test_a_fault_at_every_step_of_taking_back(sqlite_template: Path) -> None:
    """Crash or error, before or after each step: both sides end with the value, and it is said."""
    step, more = 0, True
    while more:
        step += 1
        for kind in ("crash", "error"):
            for moment in ("before", "after"):
                more = await _struck(sqlite_template, Fault(step, moment, kind)) and more


async def _struck(template: Path, fault: Fault) -> bool:
    """Whether the run had that step."""
    world = World(template)
    try:
        await clash(world)
        await ask(world)
        steps = await run_through(world, fault)
        await world.settle()
        assert subjects(world) == ["From remote", "From remote"], steps.struck
        assert await answer(world) == ("taken", ""), steps.struck
        return bool(steps.struck)
    finally:
        await world.close()
