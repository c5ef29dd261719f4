"""The problems of a configuration: gathered on the way, each as one line with its file, its key and what to do."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)


class Problems:
    """What is wrong so far. `homes` are the tables that a misplaced key may belong to."""

    def __init__(self, homes: Mapping[str, type[BaseModel]]) -> None:
        self.found: list[str] = []
        self._homes = homes

    def of_file(self, file: Path | str, reason: str) -> None:
        """Note what is wrong with a file, or with a path that should have led to one."""
        self.found.append(f"{file}: {reason}")

    def add(self, file: Path, table: str, key: str, reason: str) -> None:
        """Note what is wrong with a key, or with a whole table when the key is empty."""
        self.of_file(file, f"[{table}] {key}: {reason}" if key else f"[{table}]: {reason}")

    def model(
        self, table: str, model: type[M], values: Any, file: Path, origins: Mapping[str, Path] | None = None
    ) -> M | None:
        """The table as its model, or None when it does not fit; `origins` are the files of single keys."""
        if not isinstance(values, dict):
            self.add(file, table, "", "is missing" if values is None else "must be a table")
            return None
        try:
            return model.model_validate(values, context={"folder": file.parent})
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_context=False, include_input=False):
                where = _place(detail["loc"], values, missing=detail["type"] == "missing")
                origin = (origins or {}).get(str(where[0]) if where else "", file)
                self._detail(origin, table, model, where, detail)
        return None

    def _detail(self, file: Path, table: str, model: type[BaseModel], where: list[Any], detail: Any) -> None:
        reason = _reason(detail)
        if detail["type"] == "extra_forbidden":
            reason = "unknown key" + self._suggestion(str(where[-1]), table, _model_at(model, where[:-1]))
        *parents, key = where or [""]
        while parents and isinstance(key, int):
            key = f"{parents.pop()}[{key}]"
        self.add(file, ".".join([table, *map(str, parents)]), str(key), reason)

    def _suggestion(self, key: str, table: str, model: type[BaseModel] | None) -> str:
        if suggestion := near(key, _keys(model) if model else ()):
            return suggestion
        homes = [name for name, other in self._homes.items() if key in _keys(other) and name != table]
        return f"; it belongs to [{homes[0]}]" if homes else ""


def near(word: str, known: Iterable[str]) -> str:
    """The question whether the nearest known word was meant; empty when none is near."""
    match = get_close_matches(word.lower(), tuple(known), n=1, cutoff=0.6)
    return f' (did you mean "{match[0]}"?)' if match else ""


def _reason(detail: Any) -> str:
    if detail["type"] == "missing":
        return "is required"
    text = str(detail["msg"])
    own = text.removeprefix("Value error, ")
    return own if own != text else text[:1].lower() + text[1:]


def _place(loc: Sequence[Any], values: Any, *, missing: bool) -> list[Any]:
    """Where in the file an error is: its place without the names of a union's branches, which stand nowhere."""
    where = []
    for part in loc:
        if _holds(values, part):
            where.append(part)
            values = values[part]
    return [*where, loc[-1]] if missing else where


def _holds(values: Any, part: Any) -> bool:
    if isinstance(values, dict):
        return part in values
    return isinstance(values, list) and part in range(len(values))


def _keys(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in model.model_fields.items())


def _model_at(model: type[BaseModel] | None, path: Sequence[Any]) -> type[BaseModel] | None:
    """The model that validates the table at `path`, or None when that table has free keys."""
    for part in path:
        if model is None or isinstance(part, int):
            continue
        field = next((field for name, field in model.model_fields.items() if part in {name, field.alias}), None)
        model = _model_in(field.annotation) if field else None
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)
