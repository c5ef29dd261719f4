"""What the tests that set logging up share."""

import logging
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """Each test's logging is its own."""
    root = logging.getLogger()
    former, level = list(root.handlers), root.level
    yield
    root.handlers[:] = former
    root.setLevel(level)
    structlog.reset_defaults()
