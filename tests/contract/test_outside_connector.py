"""A connector that somebody else packaged is found, and holds the contract, without a line of ours being changed."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from syncd.connector import Connector

HERE = Path(__file__).parent
SOURCE = HERE / "outside_package"
GUIDE = HERE.parent.parent / "docs" / "writing-a-connector.md"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the outside package is installed: its module, and the metadata that pip would write.

    Written by hand, because a build needs its backend from a registry, and tests need no network.
    """
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(SOURCE / "syncd_jotter", site / "syncd_jotter", ignore=shutil.ignore_patterns("__pycache__"))
    project = tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [
        line
        for group, points in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return site


def python(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python where the outside package is installed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(SOURCE), str(HERE.parent.parent)])}
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=site,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_registry_finds_it(site: Path) -> None:
    """An installed package's connector is listed beside the built-in ones and loaded by name."""
    code = "from syncd.registry import *; print(names(), connector_class('jotter').__module__)"
    done = python(site, "-c", code)
    assert done.returncode == 0, done.stderr
    assert "'jotter'" in done.stdout
    assert "'memory'" in done.stdout
    assert done.stdout.strip().endswith("syncd_jotter")


def test_it_holds_the_inherited_contract(site: Path) -> None:
    """Both inherited suites pass on it, and every skip says why."""
    suite = ("-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "--rootdir", str(site))
    done = python(site, *suite, str(SOURCE / "check_jotter.py"))
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 100
    assert all(line.rpartition(": ")[2] for line in done.stdout.splitlines() if line.startswith("SKIPPED"))


@pytest.mark.parametrize("name", sorted(Connector.__abstractmethods__))
def test_the_guide_mentions_every_abstract_method(name: str) -> None:
    """An author who follows the guide meets everything that must be written."""
    assert f"`{name}" in GUIDE.read_text()


def test_the_guide_names_only_what_exists() -> None:
    """Every `syncd.…` name of the guide can be imported."""
    for dotted in sorted(set(re.findall(r"`(syncd\.[a-z.]+(?:\.[A-Z]\w+)?)`", GUIDE.read_text()))):
        module, _, name = dotted.rpartition(".")
        scope = __import__(module if name[0].isupper() else dotted, fromlist=["_"])
        assert not name[0].isupper() or hasattr(scope, name), dotted
