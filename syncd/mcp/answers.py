"""What a model is given to read: no nulls, long texts cut, and a sentence about what was left out. Pure."""

from collections.abc import Sequence
from typing import Any

import orjson

from syncd.mcp.shapes import FULL

#: Characters of one text, and of a whole answer; beyond the latter its texts are cut to the former's tenth.
TEXT = 2000
WHOLE = 60_000


class Trimmer:
    """Leaves out what says nothing, and counts the texts that it cuts. Takes JSON's own types only."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.cut = 0

    def trim(self, value: Any) -> Any:
        """The value without nulls and empty texts, lists and objects, as deep as it goes."""
        kind = type(value)
        if kind is dict:
            return self._object(value)
        if kind is list:
            return [self.trim(inner) for inner in value]
        return self._text(value) if kind is str else value

    def _object(self, given: dict[str, Any]) -> dict[str, Any]:
        """In a loop of its own, because a page has thousands of values, most of them null or short."""
        kept = {}
        for key, inner in given.items():
            if inner is None:
                continue
            kind = type(inner)
            if kind is str:
                if inner:
                    kept[key] = inner if len(inner) <= self.limit else self._text(inner)
            elif kind is not dict and kind is not list:
                kept[key] = inner
            elif inner and (short := self.trim(inner)):
                kept[key] = short
        return kept

    def _text(self, text: str) -> str:
        if len(text) <= self.limit:
            return text
        self.cut += 1
        return f"{text[: self.limit]}… [{len(text)} characters]"


def trimmed(value: dict[str, Any], how: str = f"call again with {FULL}=true") -> dict[str, Any]:
    """An answer that is fit to be read; `note` tells of texts that were cut, and `how` they are read whole."""
    for limit in (TEXT, TEXT // 10):
        trimmer = Trimmer(limit)
        short: dict[str, Any] = trimmer.trim(value)
        if len(orjson.dumps(short)) <= WHOLE:
            break
    if trimmer.cut:
        short["note"] = f"{trimmer.cut} long texts are cut; to read them whole, {how}"
    return short


def of_rows(name: str, rows: Sequence[Any], cursor: str | None) -> dict[str, Any]:
    """A page of a list, which says in plain words how to go on."""
    page: dict[str, Any] = {"result": list(rows), "result_count": len(rows)}
    if cursor is None:
        return page
    said = f"There is more: call {name} again with the same arguments and cursor={orjson.dumps(cursor).decode()}"
    return {**page, "next_cursor": cursor, "next": said}


def of_object(answer: Any) -> dict[str, Any]:
    """Any other answer, as the object that a tool must give."""
    if isinstance(answer, dict):
        return answer
    if isinstance(answer, list):
        return {"result": answer, "result_count": len(answer)}
    return {"done": True} if answer is None else {"result": answer}
