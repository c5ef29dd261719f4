"""The simple kinds of object: one implementation of list, get, create, change and delete, configured by `kinds`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from connectors.gorgias.sandbox.pages import Call, listing
from connectors.gorgias.sandbox.render import SHAPES
from connectors.gorgias.sandbox.table import Row
from connectors.gorgias.sandbox.world import Act, Doc, Fault, World, normal

Handler = Callable[[World, Call], Any]
NO_MORE = "The resource already exists."


def _nothing(*_args: Any) -> None:
    """The check of a kind that needs none."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of object behaves; `noun` names its events, none logs none."""

    table: str
    path: str
    shape: str
    noun: str = ""
    object_type: str = ""  # in events; the shape's name where it is not another
    unique: str = ""
    fits: Callable[[Row, Mapping[str, Any]], bool] = lambda _row, _query: True
    show: Callable[[World, Row], Doc] | None = None
    check: Callable[[World, Doc], None] = _nothing
    prepare: Callable[[World, Act, Doc, Row | None], Doc] = lambda _world, _act, body, _row: body
    after: Callable[[World, Act, Row, Doc], None] = _nothing
    before_delete: Callable[[World, Row], None] = _nothing
    after_delete: Callable[[World, Act, Row], None] = _nothing
    first: Doc = field(default_factory=dict)  # what a new row has that its body does not say


def handlers_of(kind: Kind) -> dict[str, Handler]:
    """The five operations of a kind, by method and path; those the API lacks are never routed."""

    def shown(world: World, row: Row) -> Doc:
        out = kind.show(world, row) if kind.show else {**SHAPES[kind.shape], **row}
        return out | ({"uri": f"{kind.path}/{row['id']}/"} if "uri" in out else {})

    def found(world: World, call: Call) -> Row:
        if kind.table == "users" and call.path["id"] == 0:
            return call.caller  # documented: id 0 is the caller
        return world.row(kind.table, call.path["id"])

    def listed(world: World, call: Call) -> Doc:
        return listing(world, call, world[kind.table], shown, lambda row: kind.fits(row, call.query))

    def edited(world: World, call: Call) -> Doc:
        row = found(world, call)
        change(world, call.act, kind, row, call.body)
        return shown(world, row)

    return {
        f"GET {kind.path}": listed,
        f"POST {kind.path}": lambda world, call: shown(world, create(world, call.act, kind, call.body)),
        f"GET {kind.path}/{{id}}": lambda world, call: shown(world, found(world, call)),
        f"PUT {kind.path}/{{id}}": edited,
        f"DELETE {kind.path}/{{id}}": lambda world, call: delete(world, call.act, kind, found(world, call)),
    }


def create(world: World, act: Act, kind: Kind, body: Doc) -> Row:
    """A new object of a kind."""
    kind.check(world, body)
    _must_be_free(world, kind, body)
    values = _dated(kind.prepare(world, act, body, None))
    row = world[kind.table].add({**kind.first, "created_datetime": world.stamp(), **values})
    _log(world, act, kind, row, "created")
    kind.after(world, act, row, values)
    return row


def change(world: World, act: Act, kind: Kind, row: Row, body: Doc) -> None:
    """Change what differs."""
    kind.check(world, body)
    _must_be_free(world, kind, body, row["id"])
    values = _dated(kind.prepare(world, act, body, row))
    changes = {key: value for key, value in values.items() if value != row.get(key)}
    if not changes:
        return
    if "updated_datetime" in SHAPES[kind.shape]:
        changes["updated_datetime"] = world.stamp()
    was_off = "deactivated_datetime" in row
    world[kind.table].change(row, changes)
    _log(world, act, kind, row, "updated")
    if kind.noun in ("rule", "integration") and was_off != ("deactivated_datetime" in row):
        _log(world, act, kind, row, "reactivated" if was_off else "deactivated")
    kind.after(world, act, row, changes)


def delete(world: World, act: Act, kind: Kind, row: Row) -> None:
    """Take an object away."""
    kind.before_delete(world, row)
    world[kind.table].remove(row["id"])
    _log(world, act, kind, row, "deleted")
    kind.after_delete(world, act, row)


def _log(world: World, act: Act, kind: Kind, row: Row, verb: str) -> None:
    if kind.noun:
        world.log(act, f"{kind.noun}-{verb}", kind.object_type or kind.shape, row["id"])


def _dated(body: Doc) -> Doc:
    return {key: normal(value) if key.endswith("_datetime") else value for key, value in body.items()}


def _must_be_free(world: World, kind: Kind, body: Doc, but: int = 0) -> None:
    value = body.get(kind.unique) if kind.unique else None
    if value is not None and any(row["id"] != but and row.get(kind.unique) == value for row in world[kind.table]):
        raise Fault(409, NO_MORE)
