"""A part of the HTTP API under a few random calls; `make e2e` makes thousands of all of it."""

from pathlib import Path

from tests.fuzz import fuzz


async def test_nothing_unexpected_comes_back(tmp_path: Path) -> None:
    """No crash, no undocumented answer, no door that opens without a token; the same calls each time."""
    code, said = await fuzz(tmp_path, 2, r"^/(proxy/(tags|tickets)|unified/ticketing/(tags|tickets))", seed="1")
    assert code == 0, said
