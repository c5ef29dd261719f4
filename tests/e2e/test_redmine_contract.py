"""The Redmine connector holds the contract against a real Redmine 5.

Uses the server at SYNCD_REDMINE_URL with SYNCD_REDMINE_KEY (an administrator's), or starts one of its own with
`tests/servers/redmine-up.sh`, which needs Debian's packages; without either, it is skipped.
"""

import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from connectors.redmine import RedmineConnector
from connectors.redmine.config import RedmineConfig
from syncd.model import Side
from syncd.testing import Account, ConnectorContract
from tests.fakes.redmine_people import RedminePeople

SERVERS = Path(__file__).parents[1] / "servers"
PORT = os.environ.get("SYNCD_REDMINE_PORT", "3121")


@pytest.fixture(scope="session")
def server() -> Iterator[dict[str, Any]]:
    """The URL and the key of a Redmine."""
    if "SYNCD_REDMINE_URL" in os.environ:
        yield {"url": os.environ["SYNCD_REDMINE_URL"], "api_key": os.environ["SYNCD_REDMINE_KEY"]}
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        pytest.skip("set SYNCD_REDMINE_URL and SYNCD_REDMINE_KEY, or run as root on Debian to start a Redmine here")
    up = subprocess.run([SERVERS / "redmine-up.sh", PORT], capture_output=True, text=True, check=False)
    if up.returncode:
        pytest.skip(f"Redmine does not start here: {up.stderr.strip().splitlines()[-1]}")
    yield json.loads(up.stdout.splitlines()[-1])
    subprocess.run([SERVERS / "redmine-down.sh", PORT, "--purge"], capture_output=True, check=True)


class TestRedmine(ConnectorContract):
    """A project of a Redmine, with an administrator's key."""

    @pytest_asyncio.fixture(loop_scope="session", scope="session")
    async def account(self, server: dict[str, Any]) -> AsyncIterator[Account]:
        config = RedmineConfig(url=server["url"], api_key=server["api_key"], project="support", tracker="Support")
        async with RedmineConnector.open(config, Side.REMOTE, "contract") as connector:
            yield Account(connector, RedminePeople(server["url"], server["api_key"]))
