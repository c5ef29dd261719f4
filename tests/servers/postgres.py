"""A real PostgreSQL for tests: Debian's binaries, in a temporary folder, on a Unix socket, as an unprivileged user.

It starts in about two seconds and leaves nothing behind. A power cut would ruin it: nothing is synced to disk.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

FASTER = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "listen_addresses=", "deadlock_timeout=50ms")
READY_WITHIN = 30.0  # seconds


class PostgresMissing(Exception):
    """There is no PostgreSQL on this machine."""


def binaries() -> Path:
    """The folder of the newest installed server. Raises PostgresMissing."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        raise PostgresMissing("no PostgreSQL on this machine (Debian: apt-get install postgresql)")
    return Path(on_path).resolve().parent


class Postgres:
    """One server; `url` names a database on it. It can be stopped and started again, as a restart would."""

    def __init__(self) -> None:
        self._bin = binaries()
        # Short: a Unix socket's path has at most 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="syncd-pg-", dir="/tmp"))
        self._server: subprocess.Popen[bytes] | None = None
        self._as: dict[str, Any] = {"cwd": "/", "stdin": subprocess.DEVNULL}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            self._as |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self._initialise()

    def _initialise(self) -> None:
        command = [self._bin / "initdb", "-D", self.folder / "data", "-U", "test", "-N", "-A", "trust", "-E", "UTF8"]
        done = subprocess.run(
            [*command, "--locale=C"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **self._as
        )
        if done.returncode:
            self.remove()
            raise RuntimeError(f"initdb failed: {done.stdout.decode()}")

    def url(self, database: str = "postgres") -> str:
        """The URL of one of its databases."""
        return f"postgresql://test@/{database}?host={self.folder}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = [part for setting in FASTER for part in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [self._bin / "postgres", "-D", self.folder / "data", "-k", self.folder, *settings],
                stdout=log, stderr=log, **self._as,
            )  # fmt: skip
        deadline = time.monotonic() + READY_WITHIN
        while subprocess.run([self._bin / "pg_isready", "-q", "-h", self.folder], check=False).returncode:
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it at once; its clients see their connections break."""
        if self._server:
            self._server.send_signal(signal.SIGINT)
            self._server.wait(READY_WITHIN)
            self._server = None

    def remove(self) -> None:
        """Stop it and remove all of it."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
