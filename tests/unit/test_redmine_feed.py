"""The issue list as a feed, where the rows of several pages share one second and move while they are read."""

from typing import Any

import pytest

from connectors.redmine.feed import Place, pages

PAGE = 3


class Issues:
    """Issues with the microseconds that Redmine keeps and does not show; `changed` is the order of changes."""

    def __init__(self, **changed: str) -> None:
        self.changed = changed

    async def fetch(self, bound: str | None, offset: int) -> dict[str, Any]:
        """A page of the list, sorted by the time of the last change; `>=T` is later than one second before T."""
        since = f"2026-03-01T12:00:{int(bound[17:19]) - 1:02}.000" if bound else ""
        found = sorted((when, name) for name, when in self.changed.items() if f"2026-03-01T12:00:{when}" > since)
        rows = [{"id": name, "updated_on": f"2026-03-01T12:00:{when[:2]}Z"} for when, name in found]
        return {"issues": rows[offset : offset + PAGE], "total_count": len(rows)}

    def while_nobody_looks(self) -> None:
        """Where the third issue stood it stands again, behind two others, one of which is new."""
        del self.changed["b"], self.changed["d"]
        self.changed |= {"new": "55.0", "a": "56.0", "t": "57.0"}


@pytest.mark.promise("P10")
async def test_a_run_that_broke_off_loses_nothing_when_rows_have_moved() -> None:
    """How far it was among the issues of one second says nothing any more."""
    issues = Issues(a="50.1", b="50.2", t="50.3", d="50.4")
    first = pages(issues.fetch, Place("2026-03-01T12:00:50Z", "2026-03-01T12:00:51Z"))
    rows, cursor = await anext(first)
    assert [row["id"] for row in rows] == ["a", "b", "t"]
    issues.while_nobody_looks()
    place = Place.parse(cursor, 10)
    assert place is not None
    assert "new" in [row["id"] async for rows, _ in pages(issues.fetch, place) for row in rows]


@pytest.mark.promise("P10")
async def test_a_run_begins_anew_when_the_last_row_was_changed() -> None:
    """That it is at its old place is chance."""
    issues = Issues(a="50.1", b="50.2", t="50.3", d="50.4")
    seen = []
    async for rows, _ in pages(issues.fetch, Place("2026-03-01T12:00:50Z", "2026-03-01T12:00:51Z")):
        seen += [row["id"] for row in rows]
        if len(seen) == PAGE:
            issues.while_nobody_looks()
    assert "new" in seen


def test_a_cursor_of_an_earlier_version_is_read() -> None:
    """It told how far the run was, too."""
    assert Place.parse("2026-03-01T12:00:50Z 2026-03-01T12:00:51Z 2 6", 10) == Place(
        "2026-03-01T12:00:50Z", "2026-03-01T12:00:41Z"
    )
    assert Place.parse("2026-03-01T12:00:50Z", 10) is None
    assert Place.parse(str(Place("", "")), 10) == Place()
