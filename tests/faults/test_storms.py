"""One storm of each kind over each side: few calls, two lines in the log, and all is as it should be afterwards."""

import io
import os
import random
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import stamina

from syncd import log
from syncd.model import Side
from tests.logs import own_log  # noqa: F401 - a fixture
from tests.storms.kinds import KINDS
from tests.storms.scene import DOWN, UP, Scene, staged

#: Calls of one look at a side that answers nothing, at the most: each of a few, as often as it is tried.
FEW = 12
#: Rows of a page: what is there has several.
PAGE = 3
#: Random histories; a longer run sets more.
HISTORIES = int(os.environ.get("SYNCD_STORM_HISTORIES", "3"))
#: The first has a test of its own; the second is as slow as "hang after the effect", and less of a trap.
ELSEWHERE = {"a search that lags", "hang before the effect"}
MIXED = [name for name, kind in KINDS.items() if not kind.slow]


@pytest.fixture
async def scene(tmp_path: Path, sqlite_template: Path, request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    """Both sides in step, before any storm; repeats of a call do not pause. The parameter is Gorgias's skew."""
    shutil.copy(sqlite_template, tmp_path / "syncd.db")
    stream = io.StringIO()
    log.configure("info", "json", stream)
    with stamina.set_testing(True, attempts=4):
        async with staged(tmp_path, stream, skew=getattr(request, "param", timedelta())) as made:
            await made.rest()
            assert await made.town.differences() == []
            yield made


async def ends_well(scene: Scene) -> None:
    """After the storm both sides are equal, nothing more is written, and nobody was called who should not be."""
    scene.calm()
    await scene.rest()
    assert await scene.town.differences() == []
    assert await scene.writes() == 0
    assert [proxy.strayed for proxy in scene.proxies.values()] == [[], []]
    assert len(scene.log(DOWN)) == len(scene.log(UP))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ELSEWHERE])
@pytest.mark.promise("P1", "P3", "P4", "P6", "P9", "P10", "P21")
async def test_a_storm_passes_by(scene: Scene, kind: str) -> None:
    """People work while calls of either side are struck; when it is over both sides are equal, and then at rest."""
    most = 1 if KINDS[kind].slow else 4
    storms = [scene.storm(side, kind, seed=7, share=0.5, most=most) for side in Side]
    for proxy in scene.proxies.values():
        proxy.page, proxy.between = PAGE, lambda: scene.work(1)
    await scene.work(12)
    scene.town.gorgias_ticket()
    await scene.town.redmine_issue()
    for _ in range(3):
        await scene.look()
        scene.wait(30)
    await ends_well(scene)
    assert sum(storm.struck.total() for storm in storms) > 0
    if KINDS[kind].harmless or KINDS[kind].waited_for:
        assert scene.log(DOWN) == []


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if not (kind.harmless or kind.slow)])
@pytest.mark.promise("P21")
async def test_an_outage_costs_few_calls_and_two_lines(scene: Scene, kind: str) -> None:
    """While both sides answer nothing but this, a look asks little; its begin and its end are logged, once for each."""
    for side, proxy in scene.proxies.items():
        proxy.page = PAGE
        scene.storm(side, kind)
        proxy.calls.clear()
    await scene.work(3)
    for _ in range(3):
        report = await scene.look()
        assert set(report.down) == set(Side)
        scene.wait(60)
    assert scene.called <= 3 * 2 * FEW
    assert len(scene.log(DOWN)) == 2
    await ends_well(scene)
    assert len(scene.log(UP)) == 2


@pytest.mark.parametrize("kind", ["429 for long", "502 after the effect"])
@pytest.mark.promise("P21")
async def test_a_side_that_takes_no_write_is_left_alone(scene: Scene, kind: str) -> None:
    """It reads as ever, and refuses each write: after a few tickets the pass ends, and says so once."""
    for _ in range(16):
        scene.town.gorgias_ticket()
    storm = scene.storm(Side.REMOTE, kind, only=lambda request: request.method != "GET")
    report = await scene.look()
    assert set(report.down) == {Side.REMOTE}
    assert storm.struck.total() <= 8 * 4
    assert [line["event"] for line in scene.warnings()] == [DOWN]
    scene.wait(60)
    await ends_well(scene)
    assert len(scene.log(UP)) == 1


@pytest.mark.promise("P20", "P21")
async def test_an_empty_list_where_many_are_known(scene: Scene) -> None:
    """It is no news that there is nothing: it is a failure, said once, and nothing is closed or deleted."""
    for _ in range(4):
        scene.town.gorgias_ticket()
    await scene.rest()
    scene.storm(Side.GORGIAS, "an empty list", only=lambda request: request.path == "/api/tickets")
    for _ in range(3):
        assert set((await scene.look()).down) == {Side.GORGIAS}
    assert len(scene.log(DOWN)) == 1
    await ends_well(scene)


@pytest.mark.promise("P3", "P6", "P7")
async def test_a_search_that_lags_while_answers_are_lost(scene: Scene) -> None:
    """What was made is not in the search yet when it is looked for: it is waited for, and not made again."""

    scene.proxies[Side.GORGIAS].late = 20.0
    # The list would show the new ticket with its marker, too.
    kinds = ("a write whose answer is lost", "a search that lags", "an empty list")
    storm = scene.storm(Side.GORGIAS, *kinds, only=lambda request: request.path == "/api/tickets")
    await scene.town.redmine_issue()
    for _ in range(5):
        await scene.look()
        scene.wait(8)
    await ends_well(scene)
    assert storm.struck["a write whose answer is lost"] == 1


@pytest.mark.parametrize(
    "kind", ["200 with a login page", "an answer cut short", "a redirect", "a redirect to another host"]
)
@pytest.mark.promise("P4")
async def test_a_file_that_comes_as_something_else(scene: Scene, kind: str) -> None:
    """What has not the length that its account gives is read again; a length that is wrong for good stops nothing."""
    gid = scene.town.gorgias_ticket()
    scene.town.sandbox.reply(gid, "with a file", by="alice@example.net", attachments=[scene.town.file()])
    scene.town.sandbox.reply(gid, "and another", by="alice@example.net", attachments=[{**scene.town.file(), "size": 7}])
    scene.town.said.update({"with a file": 1, "and another": 1})
    storm = scene.storm(Side.GORGIAS, kind, most=1, only=lambda request: "/attachment" in request.path)
    await scene.look()
    assert scene.called
    await ends_well(scene)
    assert storm.struck.total() == 1


@pytest.mark.parametrize("scene", [timedelta(minutes=5), timedelta(minutes=-5)], indirect=True, ids=["ahead", "behind"])
@pytest.mark.promise("P13", "P14")
async def test_a_clock_that_is_off_by_five_minutes(scene: Scene) -> None:
    """Of two edits of one field, a minute apart, the later one wins, whichever side it was made on."""
    tickets = list(scene.town.sandbox.tickets.rows)[:2]
    issues = {gid: await scene.issue_of(gid) for gid in tickets}
    first, second = tickets
    scene.town.sandbox.set_subject(first, "earlier at Gorgias", by="alice@example.net")
    await scene.rename(issues[second], "earlier at Redmine")
    scene.wait(60)
    await scene.rename(issues[first], "later at Redmine")
    scene.town.sandbox.set_subject(second, "later at Gorgias", by="alice@example.net")
    await ends_well(scene)
    subjects = [scene.town.sandbox.ticket(gid)["subject"] for gid in (first, second)]
    assert subjects == ["later at Redmine", "later at Gorgias"]


@pytest.mark.parametrize("seed", range(HISTORIES))
@pytest.mark.promise("P1", "P2", "P3", "P4", "P6", "P10", "P21")
async def test_a_history_of_storms_ends_well(scene: Scene, seed: int) -> None:
    """Several kinds at once over either side, again and again, while people work; everything is as it should be."""
    rng = random.Random(seed)
    for side, proxy in scene.proxies.items():
        proxy.page, proxy.between, proxy.late = rng.choice((0, 2, 3)), lambda: scene.work(1), rng.uniform(1, 8)
        limits = {"share": rng.uniform(0.05, 0.6), "most": rng.randint(5, 40), "again": 3}
        scene.storm(side, *rng.sample(MIXED, rng.randint(1, 6)), seed=rng.random(), **limits)
    print({side: scene.proxies[side].storm for side in Side})
    for _ in range(rng.randint(3, 8)):
        await scene.work(rng.randint(0, 4))
        if rng.random() < 0.3:
            scene.town.gorgias_ticket()
        if rng.random() < 0.3:
            await scene.town.redmine_issue()
        await scene.look()
        scene.wait(rng.choice((0.5, 3, 20, 90)))
    await ends_well(scene)
