"""The engine's promises on PostgreSQL: its main scenarios, and a fault at some of their steps."""

from collections.abc import AsyncIterator, Callable

import pytest

from tests.faults import test_engine
from tests.faults.test_every_step import SCENARIOS, Scenario, quiet
from tests.faults.world import Fault, World, run_through

MAIN = (
    test_engine.test_a_gorgias_ticket_gets_its_copy,
    test_engine.test_a_remote_ticket_gets_its_copy,
    test_engine.test_edits_on_both_sides_meet,
    test_engine.test_a_quiet_pass_writes_nothing,
    test_engine.test_the_later_edit_of_one_field_wins,
    test_engine.test_an_edited_comment_is_carried_over,
    test_engine.test_a_refused_field_is_parked_and_the_rest_goes_on,
    test_engine.test_a_deleted_ticket_closes_its_copy,
    test_engine.test_an_edit_beats_a_delete,
    test_engine.test_the_mass_delete_guard_stops,
)
#: What the database sees differs between these; the rest differs in what the products see.
STRUCK = tuple(s for s in SCENARIOS if s.name in {"create at the remote", "fields", "comments and files", "delete"})
EVERY = 12


@pytest.fixture
async def world(postgres_url: str) -> AsyncIterator[World]:
    """A world whose store is on PostgreSQL."""
    made = World(url=postgres_url)
    yield made
    await made.close()


@pytest.mark.promise("P1", "P2", "P12", "P13", "P19", "P20", "P31", "P39")
@pytest.mark.parametrize("scenario", MAIN, ids=lambda test: test.__name__.removeprefix("test_"))
async def test_on_postgresql(scenario: Callable[[World], object], world: World) -> None:
    """What holds on SQLite holds here."""
    await scenario(world)  # type: ignore[misc]


@pytest.mark.promise("P5")
@pytest.mark.parametrize("scenario", STRUCK, ids=lambda scenario: scenario.name)
async def test_some_steps(scenario: Scenario, postgres_url: str, wipe: Callable[[], None]) -> None:
    """A crash at every twelfth step, before it and after it: in the end it is as if nothing had happened."""
    steps = await play(scenario, postgres_url, None)
    assert steps > EVERY
    for step in range(2, steps + 1, EVERY):
        for moment in ("before", "after"):
            wipe()
            await play(scenario, postgres_url, Fault(step, moment, "crash"))  # type: ignore[arg-type]


async def play(scenario: Scenario, url: str, fault: Fault | None) -> int:
    """One run of a scenario with a fault; returns the number of its steps."""
    world = World(url=url)
    try:
        scenario.before(world)
        await world.settle()
        scenario.act(world)
        steps = await run_through(world, fault)
        await world.settle()
        scenario.check(world)
        await quiet(world)
        return steps.number
    finally:
        await world.close()
