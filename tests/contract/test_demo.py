"""`syncd demo` as a newcomer runs it: in a process of its own, with a real tracker."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from pathlib import Path

import aiohttp
import pytest

from syncd import config

pytestmark = pytest.mark.timeout(240)


async def start(folder: Path, *options: str) -> Process:
    """The demo, with its temporary files below `folder`; it leads a process group, as under a shell."""
    environment = {**os.environ, "TMPDIR": str(folder), "COLUMNS": "140"}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "syncd", "demo", *options, stdout=PIPE, stderr=STDOUT, env=environment,
        start_new_session=True,
    )  # fmt: skip


async def read_until(process: Process, words: str) -> str:
    """What it prints, up to and with these words."""
    assert process.stdout is not None
    return (await process.stdout.readuntil(words.encode())).decode()


def left(folder: Path) -> list[str]:
    """The processes that still run with this folder in their environment: whatever the demo has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if f"TMPDIR={folder}".encode() in (path / "environ").read_bytes():
                found.append((path / "cmdline").read_text())
        except OSError:  # another user's, or just gone
            continue
    return found


async def test_the_demo_ends_with_both_sides_the_same(tmp_path: Path) -> None:
    """It exits with 0, mails nobody, and leaves neither a process nor a file behind."""
    process = await start(tmp_path)
    out = (await process.communicate())[0].decode()
    assert process.returncode == 0, out
    for words in ("17 tickets linked", "1 conflict decided", "both sides agree: 19 tickets", "customers mailed: 0"):
        assert words in out
    assert out.count("\n = ") == 19
    assert "≠" not in out
    assert "\x1b" not in out
    assert await asyncio.to_thread(left, tmp_path) == []
    assert await asyncio.to_thread(os.listdir, tmp_path) == []


async def test_what_is_kept_stays_up_until_ctrl_c(tmp_path: Path) -> None:
    """With --keep both products answer, by the logins that are shown, and the configuration file works."""
    process = await start(tmp_path, "--keep")
    out = await read_until(process, "list_all_gorgias_tickets")
    (folder,) = await asyncio.to_thread(os.listdir, tmp_path)
    settings = config.load([tmp_path / folder / "demo.toml"])
    assert settings.workspaces[0].remote_connector == "roundup"
    url, password = re.findall(r"tracker  (http\S+) as mia.* password (\S+)", out)[0]
    headers = {"Authorization": aiohttp.encode_basic_auth("mia", password)}
    async with aiohttp.ClientSession() as session, session.get(f"{url}rest/data/issue", headers=headers) as answer:
        assert (await answer.json())["data"]["@total_size"] == 19
    os.killpg(process.pid, signal.SIGINT)
    rest = (await process.communicate())[0].decode()
    assert process.returncode == 130
    assert "Traceback" not in rest
    assert await asyncio.to_thread(left, tmp_path) == []
    assert await asyncio.to_thread(os.listdir, tmp_path) == [folder]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"])
async def test_a_signal_in_the_middle_leaves_nothing_behind(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """While it synchronises it can be stopped like any program."""
    process = await start(tmp_path)
    await read_until(process, "First synchronisation")
    os.killpg(process.pid, number)
    rest = (await process.communicate())[0].decode()
    assert process.returncode == code
    assert "Traceback" not in rest
    assert await asyncio.to_thread(left, tmp_path) == []
    assert await asyncio.to_thread(os.listdir, tmp_path) == []
