"""The whole HTTP API under 2,000 random calls and more."""

import os
import re
from pathlib import Path

import pytest

from tests.fuzz import fuzz

#: Calls of each operation: 12 make more than 2,000 in all.
EXAMPLES = int(os.environ.get("SYNCD_FUZZ", "12"))


@pytest.mark.timeout(1800)
async def test_nothing_unexpected_comes_back(tmp_path: Path) -> None:
    """No crash, no undocumented answer, no door that opens without a token; the seed and the count are printed."""
    code, said = await fuzz(tmp_path, EXAMPLES, r"^/(proxy|unified)/", seed="1")
    assert code == 0, said
    count = re.search(r"(\d+) generated", said)
    assert count, said
    assert int(count[1]) >= 150 * EXAMPLES
    print(said.partition("\n")[0], count[0])
