"""Real servers for the tests: Redmine by its script, on a port and in a folder of its own."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SERVERS = Path(__file__).parents[1] / "servers"


@dataclass(frozen=True)
class RedmineServer:
    """A Redmine that answers: its address, its keys, and the ids of everything that was seeded."""

    url: str
    key: str
    seeded: dict[str, Any]

    def key_of(self, login: str) -> str:
        """The API key of a user."""
        return next(user["api_key"] for user in self.seeded["users"] if user["login"] == login)


@contextmanager
def redmine() -> Iterator[RedmineServer]:
    """A fresh Redmine of our own; the test is skipped, saying why, where none can be started."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        pytest.skip("a real Redmine is started as root on Debian only")
    with socket.create_server(("127.0.0.1", 0)) as free:  # so that two runs at once do not meet
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="syncd-redmine-")) / "data"
    script = [str(SERVERS / "redmine-up.sh"), str(port), str(folder)]
    up = subprocess.run(script, capture_output=True, text=True, check=False, env={**os.environ, "REDMINE_FRESH": "1"})
    if up.returncode:
        pytest.skip(f"Redmine does not start here: {up.stderr.strip().splitlines()[-1]}")
    seeded = json.loads(up.stdout.splitlines()[-1])
    try:
        yield RedmineServer(seeded["url"], seeded["api_key"], seeded)
    finally:
        down = [str(SERVERS / "redmine-down.sh"), str(port), str(folder), "--purge"]
        subprocess.run(down, capture_output=True, check=False)
        shutil.rmtree(folder.parent, ignore_errors=True)
