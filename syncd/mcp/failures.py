"""A failure as a model reads it: what happened, whether anything was done, and what to do next. Pure."""

from typing import Any

from syncd import errors, log
from syncd.mcp.tools import Tool

#: The first class that fits gives the kind and the next step.
STEPS: tuple[tuple[type[errors.SyncdError], str, str], ...] = (
    (errors.BadRequest, "bad_request", "Nothing was sent. Correct what is named and call again."),
    (errors.RateLimited, "rate_limited", "Nothing was done. Wait {wait} seconds, then make the same call."),
    (
        errors.OutcomeUnknown,
        "outcome_unknown",
        "It may have been carried out: read the object before you repeat anything.",
    ),
    (errors.TryLater, "try_later", "Make the same call again in {wait} seconds; if it fails again, tell the user."),
    (errors.Unauthorized, "unauthorized", "Stop: a person must renew the credentials (`syncd check --live CONFIG`)."),
    (errors.Forbidden, "forbidden", "Do not repeat it: tell the user which right is missing."),
    (errors.Moved, "moved", "It was merged: call again with the id {to}."),
    (errors.Gone, "not_found", "Do not repeat it: the id is wrong, or it was deleted. {find}"),
    (errors.VersionConflict, "conflict", "It is in use, exists already or was changed: read it, then decide."),
    (errors.TooLarge, "too_large", "Send something smaller."),
    (errors.Refused, "refused", "Correct the values that are named and call again."),
    (errors.ConfigError, "configuration", "Tell the user: a person must mend the configuration."),
    (errors.StoreError, "store", "Tell the user; the tools that do not ask for syncd's own state still work."),
)


def told(error: errors.SyncdError, tool: Tool | None = None) -> dict[str, Any]:
    """The failure as the answer of a tool."""
    kind, step = next(((kind, step) for fits, kind, step in STEPS if isinstance(error, fits)), ("failed", ""))
    find = f"Look it up with {tool.finder}." if tool and tool.finder else "List or search to find the right one."
    wait = getattr(error, "retry_after", None) or 5
    to = getattr(error, "to", None) or "that the message names"
    # Of a wrong call the problems stand on their own.
    message = error.args[0].partition("\n")[0] if isinstance(error, errors.BadRequest) else str(error)
    said: dict[str, Any] = {"kind": kind, "message": log.masked(message)}
    if isinstance(error, errors.BadRequest) and error.problems:
        said["problems"] = [log.masked(problem) for problem in error.problems]
    step = step.format(wait=round(wait), find=find, to=to) or "Tell the user."
    return {"error": said, "next": getattr(error, "next_step", "") or step}
