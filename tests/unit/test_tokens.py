"""`syncd token`: keys that are made, listed and revoked, and what is kept of them."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from syncd.cli import main

CONFIG = """
[workspace]
name = "{name}"
[store]
url = "sqlite:///keys.db"
[gorgias]
base_url = "http://127.0.0.1:1"
email = "ops@acme.example"
api_key = "key"
[remote]
connector = "memory"
"""


class Shell:
    """The command in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *words: str) -> Result:
        """`syncd token` with these words."""
        return CliRunner().invoke(main, ["token", *words, str(self.folder)])

    def dump(self) -> str:
        """Everything that is stored."""
        with closing(sqlite3.connect(self.folder / "keys.db")) as database:
            return "\n".join(database.iterdump())


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A folder with two workspaces."""
    for name in ("acme", "other"):
        (tmp_path / f"{name}.toml").write_text(CONFIG.format(name=name))
    return Shell(tmp_path)


def test_a_token_is_shown_once_and_kept_as_a_digest(shell: Shell) -> None:
    """Standard output is the token alone; the database has its id, but not what opens."""
    made = shell("create", "--workspace", "acme", "--note", "the warehouse's script")
    token = made.stdout.strip()
    assert (made.exit_code, token.startswith("syncd_"), "not shown again" in made.stderr) == (0, True, True)
    secret = token.split("_", 2)[2]
    assert secret not in shell.dump()
    listed = shell("list").stdout
    assert token.split("_")[1] in listed
    assert "the warehouse's script" in listed
    assert secret not in listed


def test_a_token_as_json(shell: Shell) -> None:
    """Everything that it may, and until when."""
    words = ("create", "--json", "--workspace", "other", "--access", "send", "--operations", "tags.*, tickets.get")
    said = json.loads(shell(*words, "--expires", "30d").stdout)
    assert (said["workspace"], said["access"], said["operations"]) == ("other", "send", ["tags.*", "tickets.get"])
    assert (said["good"], said["expires_at"] > said["created_at"]) == (True, True)
    (row,) = json.loads(shell("list", "--json").stdout)
    assert row == {name: value for name, value in said.items() if name != "token"}


def test_a_token_is_revoked(shell: Shell) -> None:
    """By its id, or by the whole of it; once, and it stays in the list."""
    token = shell("create", "--workspace", "acme").stdout.strip()
    revoked = shell("revoke", token)
    assert (revoked.exit_code, "opens nothing any more" in revoked.stdout) == (0, True)
    again = shell("revoke", token.split("_")[1])
    assert (again.exit_code, "there is no token" in again.stderr) == (1, True)
    assert "revoked" in shell("list").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "which workspace?"),
        (("--workspace", "none"), "there is no workspace none"),
        (("--workspace", "acme", "--operations", ","), "patterns such as"),
        (("--workspace", "acme", "--operations", "a b"), "patterns such as"),
        (("--workspace", "acme", "--expires", "soon"), "is no duration"),
        (("--workspace", "acme", "--expires", "0s"), "more than nothing"),
        (("--workspace", "acme", "--expires", "99999999d"), "at most 3660d"),
        (("--workspace", "acme", "--access", "all"), "is not one of"),
    ],
)
def test_what_makes_no_token(shell: Shell, words: tuple[str, ...], said: str) -> None:
    """It is said what is wrong, and nothing is stored."""
    result = shell("create", *words)
    assert (result.exit_code != 0, said in result.stderr, result.stdout) == (True, True, "")
    assert "there are no tokens" in shell("list").stdout
