"""sd_notify and the watchdog, against a socket of our own."""

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd import notify


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, dict[str, str]]]:
    """A service manager's socket, as a file or abstract, and the environment that names it."""
    abstract = request.param == "abstract"
    name = f"syncd-test-{os.getpid()}-{id(request)}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + name if abstract else name)
        receiver.settimeout(2)
        yield receiver, {"NOTIFY_SOCKET": "@" + name if abstract else name}


def test_lines_arrive(manager: tuple[socket.socket, dict[str, str]]) -> None:
    """All lines of a call arrive in one message."""
    receiver, environ = manager
    assert notify.notify(notify.READY, notify.status("2 workspaces\nin step"), environ=environ)
    assert receiver.recv(4096) == b"READY=1\nSTATUS=2 workspaces in step"


def test_reloading_carries_the_monotonic_clock(manager: tuple[socket.socket, dict[str, str]]) -> None:
    """A reload is announced with the moment it began, which Type=notify-reload asks for."""
    receiver, environ = manager
    before = time.monotonic_ns() // 1000
    notify.notify(*notify.reloading(), environ=environ)
    state, moment = receiver.recv(4096).decode().splitlines()
    assert state == "RELOADING=1"
    assert before <= int(moment.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000


@pytest.mark.parametrize("path", ["", "relative", "vsock:2:1", "/nowhere/at/all"])
def test_without_a_manager_nothing_happens(path: str) -> None:
    """No socket, a kind we do not speak, or nobody listening: False, and no error."""
    assert not notify.notify(notify.READY, environ={"NOTIFY_SOCKET": path})
    assert not notify.notify(notify.READY, environ={})


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_heartbeat_is_twice_as_fast_as_the_watchdog(environ: dict[str, str], interval: float | None) -> None:
    """The interval is half of WATCHDOG_USEC, and there is none when the watchdog does not watch this process."""
    assert notify.watchdog_interval(environ) == interval


async def test_the_watchdog_hears_from_us(manager: tuple[socket.socket, dict[str, str]]) -> None:
    """The heartbeat repeats while the event loop runs."""
    receiver, environ = manager
    task = asyncio.create_task(notify.watchdog(environ | {"WATCHDOG_USEC": "20000"}))
    for _ in range(3):
        assert await asyncio.to_thread(receiver.recv, 64) == b"WATCHDOG=1"
    task.cancel()


async def test_no_watchdog_no_heartbeat() -> None:
    """The task ends at once when nobody watches."""
    await asyncio.wait_for(notify.watchdog({}), 1)
