"""Starts `python -m syncd …` many times for the price of one start: imports everything once, and forks.

A program of its own: a JSON line on standard input asks for a process, JSON lines on standard output tell its pid and
how it ended. What is forked is a real process: arguments, environment, signals, limits, exit code.
"""

import json
import os
import resource
import runpy
import select
import sys
import traceback
from typing import Any, NoReturn

import connectors.gorgias.connector
import connectors.redmine  # noqa: F401
import syncd.cli  # noqa: F401


def main() -> None:
    """Serve requests until standard input ends."""
    running: dict[int, int] = {}
    pending = b""
    while True:
        readable, _, _ = select.select([0], [], [], 0.02 if running else None)
        if readable:
            chunk = os.read(0, 65536)
            if not chunk:
                return
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                asked = json.loads(line)
                pid = os.fork() or child(asked)
                running[pid] = asked["number"]
                tell(number=asked["number"], pid=pid)
        for pid in list(running):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                tell(number=running.pop(pid), code=os.waitstatus_to_exitcode(status))


def tell(**said: Any) -> None:
    """One line to whoever asked."""
    os.write(1, json.dumps(said).encode() + b"\n")


def child(asked: dict[str, Any]) -> NoReturn:
    """Become the process that was asked for."""
    code: Any = 1
    try:
        os.setsid()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOCTTY
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(asked[name], flags, 0o600), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.update(asked["env"])
        os.chdir(asked["cwd"])
        if asked["fsize"]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (asked["fsize"], asked["fsize"]))
        sys.argv = ["syncd", *asked["words"]]
        runpy.run_module("syncd", run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - as the interpreter does at its end
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


if __name__ == "__main__":
    main()
