"""The engine's promises on PostgreSQL: its main scenarios, and a fault at some of their steps."""

import os
from collections.abc import AsyncIterator, Callable

import pytest

from tests.faults import test_engine
from tests.faults.test_every_step import SCENARIOS, Scenario, play
from tests.faults.world import Fault, World

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
NAMES = {"create at the remote", "fields", "comments and files", "delete"}
ALL = bool(os.environ.get("SYNCD_ALL_STEPS"))
STRUCK = tuple(scenario for scenario in SCENARIOS if ALL or scenario.name in NAMES)
EVERY = 4 if ALL else 12


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
    """A crash at every twelfth step, in `make e2e` at every fourth, before and after it, changes nothing."""
    steps, _ = await play(scenario, None, url=postgres_url)
    assert steps > EVERY
    for step in range(2, steps + 1, EVERY):
        for moment in ("before", "after"):
            wipe()
            await play(scenario, Fault(step, moment, "crash"), url=postgres_url)  # type: ignore[arg-type]
