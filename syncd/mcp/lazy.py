"""Modules that import the protocol's SDK, loaded when they are needed: it is an extra, and takes a second."""

from importlib import import_module
from typing import Any

from syncd.errors import ConfigError


def sdk(module: str) -> Any:
    """A module of this package. Raises ConfigError that says what to install."""
    try:
        return import_module(f"syncd.mcp.{module}")
    except ModuleNotFoundError as error:
        raise ConfigError([f"MCP needs the package {error.name}: in syncd's folder, pip install '.[mcp]'"]) from error
