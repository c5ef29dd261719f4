"""What is wrong with a body, all of it at once and before any call."""

import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from typing import Any

import jsonschema

from syncd.model import utc
from syncd.problems import near
from syncd.text import unsign
from syncd.unified.drafts import decoded
from syncd.unified.schema import body_schema, every

MAX_PROBLEMS = 50
SHOWN = 200
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:?\d\d)?")
_KEY = re.compile(r"'(.*)' is a required property")


@cache
def _validator(model: str, name: str, method: str) -> Any:
    formats = jsonschema.FormatChecker(formats=())
    formats.checks("date-time")(_is_time)
    formats.checks("base64")(_is_base64)
    return jsonschema.Draft202012Validator(body_schema(every()[model, name], method), format_checker=formats)


def _is_time(value: Any) -> bool:
    if not isinstance(value, str):
        return True
    try:
        return bool(_TIME.fullmatch(value) and utc(datetime.fromisoformat(value)))
    except (ValueError, OverflowError):
        return False


def _is_base64(value: Any) -> bool:
    return not isinstance(value, str) or decoded(value) is not None


def problems_of(model: str, name: str, method: str, body: Any) -> list[str]:
    """Every problem, each with its place."""
    if not isinstance(body, dict):
        return ["body: must be a JSON object"]
    errors = sorted(_validator(model, name, method).iter_errors(body), key=lambda error: list(map(str, error.path)))
    found = [problem for error in errors for problem in _said(error)]
    if name == "comments" and method == "create" and not (body.get("body") or body.get("html_body")):
        found.append("body: body or html_body is required")
    signed = [key for key in ("body", "description") if isinstance(body.get(key), str) and unsign(body[key])[1]]
    found += [f"{key}: begins with a line by which the sync knows its own copies" for key in signed]
    return found[:MAX_PROBLEMS]


def _said(error: Any) -> Iterator[str]:
    where = ".".join(map(str, error.path))
    inside = f"{where}." if where else ""
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        for key in sorted(set(error.instance) - set(known)):
            yield f"{inside}{key}: cannot be written here{near(key, known)}"
    elif error.validator == "required":
        key = _KEY.fullmatch(error.message)
        yield f"{inside}{key[1] if key else '?'}: is required"
    elif error.validator == "minProperties":
        yield "body: names nothing to change"
    elif error.validator == "format" and error.validator_value == "base64":
        yield f"{where}: is no Base64"
    else:
        yield f"{where or 'body'}: {error.message[:SHOWN]}"
