"""Connectors by name, from the entry points of the group `syncd.connectors`: the only place that loads one.

Built-in connectors come through the same door as a stranger's package.
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from syncd.connector import Connector
from syncd.errors import ConfigError
from syncd.problems import near

GROUP = "syncd.connectors"


def names() -> tuple[str, ...]:
    """The names of every installed connector, in alphabetical order; none is loaded."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


@cache
def connector_class(name: str) -> type[Connector]:
    """The connector of this name. Raises ConfigError when there is none, or when its package is broken."""
    points = tuple(entry_points(group=GROUP, name=name))
    if not points:
        raise ConfigError([f"connector = {name!r}: {_unknown(name)}"])
    if len({point.value for point in points}) > 1:
        rivals = " and ".join(sorted(f"{point.value} ({_package(point)})" for point in points))
        raise ConfigError([f"connector = {name!r}: both {rivals} claim this name; uninstall one of them"])
    return _checked(name, points[0], _load(name, points[0]))


def _load(name: str, point: EntryPoint) -> object:
    try:
        return point.load()
    except Exception as error:  # a stranger's module may raise anything while it is imported
        raise ConfigError(
            [f"connector = {name!r}: {point.value} of {_package(point)} does not load: {type(error).__name__}: {error}"]
        ) from error


def _checked(name: str, point: EntryPoint, found: object) -> type[Connector]:
    where = f"connector = {name!r}: {point.value} of {_package(point)}"
    if not isinstance(found, type) or not issubclass(found, Connector):
        raise ConfigError([f"{where} is not a subclass of syncd.connector.Connector"])
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    missing += [attribute for attribute in ("name", "Config") if not hasattr(found, attribute)]
    if missing:
        raise ConfigError([f"{where} lacks {', '.join(missing)}"])
    if found.name != name:
        raise ConfigError([f"{where} calls itself {found.name!r}; the entry point and `name` must agree"])
    return found


def _unknown(name: str) -> str:
    return f"there is no such connector; known are {', '.join(names()) or 'none'}{near(name, names())}"


def _package(point: EntryPoint) -> str:
    return f"the package {point.dist.name} {point.dist.version}" if point.dist else "an unknown package"
