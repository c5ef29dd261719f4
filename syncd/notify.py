"""Telling systemd how we are: sd_notify(3) without a library, and the watchdog's heartbeat."""

import asyncio
import os
import socket
import time
from collections.abc import Mapping

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"


def notify(*lines: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send these lines to the service manager; False when there is none, or it does not listen."""
    path = environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            # A leading @ stands for the null byte of an abstract socket.
            sender.sendto("\n".join(lines).encode(), "\0" + path[1:] if path[0] == "@" else path)
        except OSError:
            return False
    return True


def status(text: str) -> str:
    """The line that `systemctl status` shows."""
    return "STATUS=" + text.replace("\n", " ")


def reloading() -> tuple[str, str]:
    """The lines that begin a reload; READY ends it."""
    return "RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"


def watchdog_interval(environ: Mapping[str, str] = os.environ) -> float | None:
    """How often the watchdog wants to hear from us, in seconds: half of its patience. None when it does not watch."""
    patience = environ.get("WATCHDOG_USEC", "")
    process = environ.get("WATCHDOG_PID", str(os.getpid()))
    if not patience.isdecimal() or int(patience) == 0 or process != str(os.getpid()):
        return None
    return int(patience) / 2_000_000


async def watchdog(environ: Mapping[str, str] = os.environ) -> None:
    """Send the heartbeat for ever: it stops when the event loop does, which is what the watchdog is for."""
    interval = watchdog_interval(environ)
    while interval:
        notify(WATCHDOG, environ=environ)
        await asyncio.sleep(interval)
