"""Rules of the house that no linter knows; who may import whom is in pyproject.toml, for import-linter."""

import ast
import importlib
import inspect
import pkgutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import connectors
from syncd.connector import Connector

ROOT = Path(__file__).parents[2]
PACKAGES = ("syncd", "state", "connectors")
#: HTTP sessions are opened by the transport alone; the sandbox sends webhooks as Gorgias does, not as syncd does.
SESSIONS = {"syncd/http.py", "connectors/gorgias/sandbox/hooks.py"}
#: In two parts each, so that this file passes its own test.
HOSTS = [".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("rubygems", "org"))]
GENERATED = {".venv", ".git", ".hypothesis", ".import_linter_cache", "node_modules"}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Our own modules, parsed."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text("utf-8"))


def test_only_the_transport_opens_http_sessions() -> None:
    """No other module of ours makes a ClientSession."""
    makers = {
        name
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "ClientSession"
    }
    assert makers <= SESSIONS


def test_our_imports_stand_at_the_top() -> None:
    """A function imports nothing of ours: what needs that has a circle in it."""
    hidden = [
        f"{name}:{node.lineno}"
        for name, tree in modules()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom) and _imported(node).split(".")[0] in PACKAGES
    ]
    assert hidden == []


def _imported(node: ast.Import | ast.ImportFrom) -> str:
    if isinstance(node, ast.Import):
        return node.names[0].name
    return "syncd" if node.level else node.module or ""


def test_the_root_package_is_empty() -> None:
    """Importing one module of syncd imports that module only."""
    assert (ROOT / "syncd" / "__init__.py").read_text() == ""


def test_every_connector_is_registered() -> None:
    """Each class of a product has its entry point."""
    registered = set(
        tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["syncd.connectors"]
    )
    found = set()
    for info in pkgutil.walk_packages(connectors.__path__, "connectors."):
        module = importlib.import_module(info.name)
        for _, one in inspect.getmembers(module, inspect.isclass):
            if issubclass(one, Connector) and not inspect.isabstract(one):
                found.add(one.name)
    assert found == registered


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is the business of whoever installs them."""
    named = []
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        if GENERATED & set(parts) or "__pycache__" in parts or any(part.endswith("_cache") for part in parts):
            continue
        if path.is_file() and any(host.encode() in path.read_bytes() for host in HOSTS):
            named.append(str(path.relative_to(ROOT)))
    assert named == []
