"""Rows in memory: by id, by equality, and in sorted order, all kept up to date by every change."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

#: A stored row. Keys whose value is None are left out, which keeps 100,000 tickets small; rendering puts them back.
Row = dict[str, Any]
Key = tuple[Any, int]
#: Fields that sort as numbers, so that a missing one is 0 and not an empty text.
NUMBERS = frozenset({"priority", "order", "usage"})
PRIORITIES = {"low": 0, "normal": 1, "high": 2, "critical": 3}


def sort_value(row: Row, fields: tuple[str, ...]) -> Any:
    """What a row sorts by; nothing sorts before everything."""
    if len(fields) == 1:
        return _sort_value(row, fields[0])
    return tuple(_sort_value(row, field) for field in fields)


def _sort_value(row: Row, field: str) -> Any:
    value = row.get(field, 0 if field in NUMBERS else "")
    if field == "priority":
        return PRIORITIES.get(value, value)
    return value["name"] if isinstance(value, dict) else value  # a user's role


class Table:
    """The rows of one kind. Every change goes through `add`, `change` and `remove`, so the indexes are always right."""

    def __init__(self, name: str, first_id: int, *, order: Iterable[str] = (), index: Iterable[str] = ()) -> None:
        self.name = name
        self.next_id = first_id
        self.rows: dict[int, Row] = {}
        self.on_change: Callable[[str, int], None] = lambda _table, _id: None
        self._order: dict[str, list[Key]] = {field: [] for field in order}
        self._index: dict[str, dict[Any, dict[int, None]]] = {field: {} for field in index}

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows.values())

    def __contains__(self, row_id: object) -> bool:
        return row_id in self.rows

    def __getitem__(self, row_id: int) -> Row:
        return self.rows[row_id]

    def get(self, row_id: int | None) -> Row | None:
        """The row of this id, or None."""
        return self.rows.get(row_id) if row_id is not None else None

    def add(self, row: Mapping[str, Any]) -> Row:
        """Store a new row under the next id."""
        return self.load({"id": self.next_id} | {key: value for key, value in row.items() if value is not None})

    def load(self, stored: Row) -> Row:
        """Store a row that has its id."""
        self.next_id = max(self.next_id, stored["id"] + 1)
        self.rows[stored["id"]] = stored
        self._enter(stored, self._order, self._index)
        self.on_change(self.name, stored["id"])
        return stored

    def change(self, row: Row, changes: Mapping[str, Any]) -> None:
        """Set these keys; None takes a key away."""
        order = [field for field in self._order if field in changes]
        index = [field for field in self._index if field in changes]
        self._leave(row, order, index)
        for key, value in changes.items():
            if value is None:
                row.pop(key, None)
            else:
                row[key] = value
        self._enter(row, order, index)
        self.on_change(self.name, row["id"])

    def remove(self, row_id: int) -> None:
        """Take a row away for good."""
        row = self.rows.pop(row_id)
        self._leave(row, self._order, self._index)
        self.on_change(self.name, row_id)

    def where(self, field: str, value: Any) -> list[Row]:
        """The rows whose indexed field is, or holds, this value; in the order they were stored."""
        return [self.rows[row_id] for row_id in self._index[field].get(value, ())]

    def count(self, field: str, value: Any) -> int:
        """How many rows `where` would give."""
        return len(self._index[field].get(value, ()))

    def scan(
        self,
        fields: tuple[str, ...],
        *,
        descending: bool = False,
        after: Key | None = None,
        among: Iterable[Row] | None = None,
    ) -> Iterator[Row]:
        """Rows in order of these fields, then of id, from behind `after`; only those of `among` where given."""
        keys = self._order.get(fields[0]) if len(fields) == 1 and among is None else None
        if keys is None:
            keys = sorted((sort_value(row, fields), row["id"]) for row in (self if among is None else among))
        if descending:
            numbers = range((len(keys) if after is None else bisect_left(keys, after)) - 1, -1, -1)
        else:
            numbers = range(0 if after is None else bisect_right(keys, after), len(keys))
        return (self.rows[keys[number][1]] for number in numbers)

    def _enter(self, row: Row, order: Iterable[str], index: Iterable[str]) -> None:
        for field in order:
            insort(self._order[field], (sort_value(row, (field,)), row["id"]))
        for field in index:
            for value in _values(row.get(field)):
                self._index[field].setdefault(value, {})[row["id"]] = None

    def _leave(self, row: Row, order: Iterable[str], index: Iterable[str]) -> None:
        for field in order:
            keys = self._order[field]
            del keys[bisect_left(keys, (sort_value(row, (field,)), row["id"]))]
        for field in index:
            for value in _values(row.get(field)):
                ids = self._index[field][value]
                del ids[row["id"]]
                if not ids:
                    del self._index[field][value]


def _values(value: Any) -> Iterable[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)
