"""The issue list as a change feed: nothing is lost while rows move, nor where many share one second.

Redmine shows `updated_on` in whole seconds and keeps microseconds, and `updated_on>=T` means later than one second
before T (5.0). Paging by offset loses rows, because an issue that is updated meanwhile leaves its page and moves all
others up. So the lower bound moves instead; an offset is used only where one second holds more than a page, and with
a row of overlap that shows whether the rows have moved.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from connectors.redmine.client import Json

Fetch = Callable[[str | None, int], Awaitable[Json]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run stands: the newest stamp seen, the lower bound, and how far it is in what lies at the bound.

    Written as the newest stamp alone when the run is complete, and else with the bound, so that a reader who stops
    between two pages goes on from there. How far it was at the bound is not kept: by then all may have moved.
    """

    newest: str = ""
    bound: str = ""
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.newest} {self.bound or '-'}"

    @classmethod
    def parse(cls, cursor: str | None, back: int) -> "Place | None":
        """The place in the middle of a run that a cursor holds, or None when the run was complete.

        It lies `back` seconds before where the run stood: what was not visible then may have become so since.
        """
        newest, _, rest = (cursor or "").partition(" ")
        if not rest:
            return None
        bound = rest.split(" ")[0]
        return cls(newest, "" if bound == "-" else shifted(bound, -back))


async def pages(fetch: Fetch, place: Place) -> AsyncIterator[tuple[list[Json], str]]:
    """The pages from `place` on, each with its cursor; a row that was just shown unchanged is left out."""
    shown: dict[int, Json] = {}
    tail: list[Json] = []
    while True:
        answer = await fetch(place.bound or None, place.offset)
        rows: list[Json] = answer["issues"]
        if place.offset and rows[:1] != tail:
            place = Place(place.newest, place.bound)  # rows have left the pile: once more from its start
            continue
        fresh = [row for row in rows if shown.get(row["id"]) != row]
        complete = place.offset + len(rows) >= answer["total_count"] or not rows
        place, tail = advanced(place, rows), rows[-1:]
        shown = {**(shown if place.offset else {}), **{row["id"]: row for row in rows}}
        if fresh or complete:
            yield fresh, place.newest if complete else str(place)
        if complete:
            return


def advanced(place: Place, rows: list[Json]) -> Place:
    """The place behind these rows: at a later bound where there is one, else further on at the same."""
    if not rows:
        return place
    last = str(rows[-1]["updated_on"])
    newest = max(place.newest, last)
    if last > place.bound:
        return Place(newest, last)
    return Place(newest, place.bound, place.offset + len(rows) - 1)


def shifted(stamp: str, seconds: int) -> str:
    """A stamp so many seconds later."""
    moment = datetime.fromisoformat(stamp) + timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
