"""The example and the reference page: every option stands in both, and the example can be used as it is."""

import re
from importlib.metadata import distribution
from pathlib import Path

import pytest
from pydantic import BaseModel

from syncd import registry
from syncd.config import DAEMON, OWN, load

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "config.example.toml").read_text(encoding="utf-8").splitlines()
REFERENCE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
#: Our own accounts that can stand on the other side; Gorgias has a table of its own, strangers have other examples.
REMOTES = tuple(
    sorted({point.name for point in distribution("syncd").entry_points.select(group=registry.GROUP)} - {"gorgias"})
)
OPTION = re.compile(r'#?([\w-]+|"[^"]+") = ')


def _blocks() -> dict[str, list[str]]:
    """The example's lines by table; the tables of the other side are told apart by their connector."""
    blocks: dict[str, list[str]] = {}
    table = ""
    for number, line in enumerate(EXAMPLE):
        if match := re.fullmatch(r"#?\[([\w.]+)\]", line):
            table = match[1]
            if table == "remote":
                following = "\n".join(EXAMPLE[number : number + 4])
                table += " " + re.findall(r'^#?connector = "(\w+)"', following, re.MULTILINE)[0]
        blocks.setdefault(table, []).append(line)
    return blocks


def _active(lines: list[str], *, everything: bool, alternatives: bool) -> list[str]:
    """The lines with their options switched on; an option after "# or" replaces the one before it."""
    active: list[str] = []
    alternative = False
    for line in lines:
        alternative = alternative or line.startswith("# or ")
        is_option = OPTION.match(line)
        if is_option and alternative:
            alternative = False
            if alternatives:
                active[-1] = line.removeprefix("#")
        elif is_option:
            active.append(line.removeprefix("#") if everything else line)
        elif re.match(r"#?\[", line):
            active.append(line.removeprefix("#"))
    return active


def _variant(connector: str, *, everything: bool, alternatives: bool = False) -> str:
    lines: list[str] = []
    for name, block in _blocks().items():
        if name.startswith("remote "):
            if name == f"remote {connector}":
                # What is commented out of an alternative table is the table itself, not single options of it.
                lines += _active(block, everything=everything or block[0][0] == "#", alternatives=alternatives)
        elif name:
            lines += _active(block, everything=everything, alternatives=alternatives)
    return "\n".join(lines)


@pytest.mark.parametrize("connector", REMOTES)
@pytest.mark.parametrize(
    ("everything", "alternatives"), [(False, False), (True, False), (True, True)], ids=["shipped", "all", "or"]
)
def test_the_example_loads(
    connector: str, everything: bool, alternatives: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As shipped, with every option switched on, and with every alternative taken, for each connector."""
    text = _variant(connector, everything=everything, alternatives=alternatives)
    for name in re.findall(r'env = "(\w+)"', text):
        monkeypatch.setenv(name, "a-secret-for-the-test")
    file = tmp_path / "acme.toml"
    file.write_text(text)
    (workspace,) = load([file]).workspaces
    assert workspace.remote_connector == connector


@pytest.mark.parametrize("connector", REMOTES)
def test_what_is_switched_off_is_the_default(connector: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option of [workspace], [http], [log] or [sync] that is given with a value has the default's value."""
    for name in re.findall(r'env = "(\w+)"', "\n".join(EXAMPLE)):
        monkeypatch.setenv(name, "a-secret-for-the-test")
    shipped, everything = tmp_path / "shipped.toml", tmp_path / "everything.toml"
    shipped.write_text(_variant(connector, everything=False))
    everything.write_text(_variant(connector, everything=True))
    examples = {"tags", "token", "status", "priority", "users", "teams", "fields"}
    one, other = load([shipped]), load([everything])
    for model, same in (
        (one.workspaces[0].sync, other.workspaces[0].sync),
        (one.http, other.http),
        (one.log, other.log),
        (one.workspaces[0], other.workspaces[0]),
    ):
        for name in type(model).model_fields:
            if name not in examples | {"file", "gorgias", "remote", "sync"}:
                assert getattr(model, name) == getattr(same, name), name


def _models() -> list[tuple[str, type[BaseModel]]]:
    tables = [(name, model) for name, model in (DAEMON | OWN).items()]
    remotes = [(f"remote {name}", registry.connector_class(name).Config) for name in REMOTES]
    return [*tables, ("gorgias", registry.connector_class("gorgias").Config), *remotes]


@pytest.mark.parametrize(("table", "model"), _models(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_option_is_in_the_example(table: str, model: type[BaseModel]) -> None:
    """Each field of each table's model stands in the example, and nothing else does."""
    blocks = _blocks()
    shown = {match[1] for line in blocks[table] if (match := OPTION.match(line))} - {"connector"}
    shown |= {name.removeprefix(f"{table}.") for name in blocks if name.startswith(f"{table}.")}
    assert shown == set(model.model_fields)


@pytest.mark.parametrize(("table", "model"), _models(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_option_is_in_the_reference(table: str, model: type[BaseModel]) -> None:
    """Each field has a row in its table's section, and no row stands for a field that is gone."""
    heading = table.replace("remote ", "[remote] ") if table.startswith("remote ") else f"[{table}]"
    section = REFERENCE.partition(f"## `{heading}`")[2].partition("\n## ")[0]
    rows = set(re.findall(r"^\| `(?:sync\.)?(\w+)`", section, re.MULTILINE)) - {"connector"}
    assert rows == set(model.model_fields)
