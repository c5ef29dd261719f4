"""Each promise is held by a test, each test of the engine holds a promise, and the page shows both."""

import pytest

from tests.promises import BEGIN, END, IDS, PAGE, ROOT, claims, claims_of, filled

#: Tests of these exist for nothing but promises.
BOUND = [*sorted((ROOT / "tests" / "faults").glob("test_*.py")), ROOT / "tests" / "unit" / "test_plan.py"]


def test_every_promise_is_held_by_a_test() -> None:
    """A promise that nothing checks is a hope."""
    claimed = {name for claim in claims() for name in claim.ids}
    assert claimed == set(IDS)
    assert len(IDS) == len(set(IDS))


@pytest.mark.parametrize("path", BOUND, ids=lambda path: path.name)
def test_every_test_of_the_engine_holds_a_promise(path) -> None:
    """A test that claims none is either needless, or its promise was never made."""
    assert [claim.test for claim in claims_of(path) if not claim.ids] == []


def test_the_page_shows_which_test_holds_which_promise() -> None:
    """`python -m tests.promises` writes it anew."""
    page = PAGE.read_text(encoding="utf-8")
    assert BEGIN in page
    assert END in page
    assert page == filled(page), "run `python -m tests.promises`"
