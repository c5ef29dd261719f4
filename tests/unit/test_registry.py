"""The registry finds connectors by name and says plainly what is wrong with one that it cannot use."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.memory import MemoryConnector
from syncd import registry
from syncd.errors import ConfigError

BROKEN = {
    "absent": "no_such_module_at_all:Connector",
    "raising": "plugin_raising:Connector",
    "nothing": "plugin_odd:Missing",
    "number": "plugin_odd:NUMBER",
    "partial": "plugin_odd:Partial",
    "misnamed": "connectors.memory:MemoryConnector",
}


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package with every kind of broken entry point."""
    info = tmp_path / "strange_plugin-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strange-plugin\nVersion: 1.2\n")
    lines = [f"{name} = {value}" for name, value in BROKEN.items()]
    (info / "entry_points.txt").write_text("\n".join(["[syncd.connectors]", *lines]))
    (tmp_path / "plugin_raising.py").write_text("raise RuntimeError('no licence found')")
    (tmp_path / "plugin_odd.py").write_text(
        "from syncd.connector import Connector\nNUMBER = 7\nclass Partial(Connector):\n    name = 'partial'\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    registry.connector_class.cache_clear()
    yield tmp_path
    registry.connector_class.cache_clear()


def problem(name: str) -> str:
    """The one problem that loading this connector has."""
    with pytest.raises(ConfigError) as raised:
        registry.connector_class(name)
    assert len(raised.value.problems) == 1
    return raised.value.problems[0]


def test_a_connector_is_loaded_by_name() -> None:
    """A built-in connector comes through its entry point."""
    assert registry.connector_class("memory") is MemoryConnector
    assert "memory" in registry.names()


def test_names_are_listed_once_and_sorted(plugins: Path) -> None:
    """Every installed connector is listed, broken ones too, without loading any."""
    assert list(registry.names()) == sorted(set(registry.names()))
    assert set(BROKEN) <= set(registry.names())
    assert "plugin_raising" not in sys.modules


def test_an_unknown_name_suggests_the_nearest() -> None:
    """A slip of the pen is answered with the connector that was probably meant."""
    assert 'did you mean "memory"?' in problem("memroy")
    assert "known are " in problem("zzz")


def test_a_name_that_is_empty_is_unknown() -> None:
    """An empty name is no connector."""
    assert "there is no such connector" in problem("")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent", "does not load: ModuleNotFoundError"),
        ("raising", "does not load: RuntimeError: no licence found"),
        ("nothing", "does not load: AttributeError"),
        ("number", "is not a subclass of syncd.connector.Connector"),
        ("partial", "lacks changes, check, "),
        ("misnamed", "calls itself 'memory'"),
    ],
)
def test_a_broken_plugin_names_its_package(plugins: Path, name: str, reason: str) -> None:
    """Whatever is wrong with a stranger's connector, the message says what, and in which package."""
    message = problem(name)
    assert reason in message
    assert "the package strange-plugin 1.2" in message


def test_two_packages_cannot_share_a_name(plugins: Path) -> None:
    """A name that two packages claim is an error rather than a lottery."""
    entry_points = plugins / "strange_plugin-1.2.dist-info" / "entry_points.txt"
    entry_points.write_text("[syncd.connectors]\nmemory = plugin_odd:Partial")
    assert "uninstall one of them" in problem("memory")
