"""`syncd` as a command, in processes of their own: started, watched, told to stop, and read."""

import asyncio
import itertools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Seconds; a machine may be busy.
PATIENCE = 90.0


@dataclass(slots=True)
class Process:
    """One run of the command; standard output and standard error go to files."""

    pid: int
    out_file: Path
    err_file: Path
    ended: asyncio.Future[int]

    @property
    def out(self) -> str:
        """Standard output so far."""
        return self.out_file.read_text(encoding="utf-8", errors="replace")

    @property
    def err(self) -> str:
        """Standard error so far."""
        return self.err_file.read_text(encoding="utf-8", errors="replace")

    @property
    def log(self) -> list[dict[str, Any]]:
        """What was logged so far: the lines of standard error that are JSON."""
        lines = [line for line in self.err.splitlines() if line.startswith("{") and line.endswith("}")]
        return [json.loads(line) for line in lines]

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of this event."""
        return [line for line in self.log if line["event"] == name]

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if not self.ended.done():
            os.kill(self.pid, number)

    async def wait(self, seconds: float = PATIENCE) -> int:
        """The exit code; of a process that a signal ended, its number below zero."""
        return await asyncio.wait_for(asyncio.shield(self.ended), seconds)

    async def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.send(signal.SIGTERM)
        return await self.wait()

    async def until(self, holds: Callable[[], Any], seconds: float = PATIENCE) -> Any:
        """Wait for something to hold, which it must by the time this has ended; what it gave."""

        def holds_while_it_runs() -> Any:
            over = self.ended.done()
            found = holds()
            assert found or not over, f"it has ended\n{self.out}\n{self.err}"
            return found

        return await until(holds_while_it_runs, seconds, lambda: f"{self.out}\n{self.err}")


async def until(holds: Callable[[], Any], seconds: float = PATIENCE, told: Callable[[], str] = lambda: "") -> Any:
    """Wait for something to hold; a coroutine function may be asked, too."""
    end = asyncio.get_running_loop().time() + seconds
    while True:
        found = holds()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert asyncio.get_running_loop().time() < end, told()
        await asyncio.sleep(0.02)


@dataclass(slots=True)
class Done:
    """A run that has ended."""

    code: int
    out: str
    err: str
    log: list[dict[str, Any]]

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)

    def events_of(self, name: str) -> list[dict[str, Any]]:
        """The log lines of this event."""
        return [line for line in self.log if line["event"] == name]


@dataclass(slots=True)
class Command:
    """Starts processes by way of the zygote."""

    zygote: asyncio.subprocess.Process
    folder: Path
    numbers: Any = field(default_factory=itertools.count)
    begun: dict[int, asyncio.Future[int]] = field(default_factory=dict)
    ended: dict[int, asyncio.Future[int]] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)

    async def start(
        self, *words: str, env: Mapping[str, str] | None = None, fsize: int = 0, terminal: str = ""
    ) -> Process:
        """Begin a run; `terminal` is where standard error goes instead of into a file."""
        number, loop = next(self.numbers), asyncio.get_running_loop()
        begun, ended = loop.create_future(), loop.create_future()
        self.begun[number], self.ended[number] = begun, ended
        out, err = self.folder / f"{number}.out", self.folder / f"{number}.err"
        out.touch()
        err.touch()
        environ = {"NO_COLOR": "1", "COLUMNS": "200", **(env or {})}
        asked = {"number": number, "words": words, "env": environ, "cwd": str(self.folder), "fsize": fsize}
        asked |= {"out": str(out), "err": terminal or str(err)}
        assert self.zygote.stdin is not None
        self.zygote.stdin.write(json.dumps(asked).encode() + b"\n")
        process = Process(await asyncio.wait_for(begun, PATIENCE), out, err, ended)
        self.processes.append(process)
        return process

    async def run(self, *words: str, seconds: float = PATIENCE, **options: Any) -> Done:
        """A run to its end."""
        process = await self.start(*words, **options)
        code = await process.wait(seconds)
        return Done(code, process.out, process.err, process.log)

    async def listen(self) -> None:
        """Hear what became of the processes."""
        assert self.zygote.stdout is not None
        async for line in self.zygote.stdout:
            said = json.loads(line)
            future = self.begun[said["number"]] if "pid" in said else self.ended[said["number"]]
            future.set_result(said.get("pid", said.get("code")))

    async def end_all(self) -> None:
        """End what a test left running."""
        for process in self.processes:
            process.send(signal.SIGKILL)
        for process in self.processes:
            await process.wait()
        self.processes.clear()


@asynccontextmanager
async def commands(folder: Path) -> AsyncIterator[Command]:
    """The command, ready to be started."""
    pipe = asyncio.subprocess.PIPE
    words = (sys.executable, "-m", "tests.processes.zygote")
    root = Path(__file__).parents[2]
    zygote = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, cwd=root)
    command = Command(zygote, folder)
    hearing = asyncio.create_task(command.listen())
    try:
        yield command
    finally:
        await command.end_all()
        assert zygote.stdin is not None
        zygote.stdin.close()
        await zygote.wait()
        await hearing
