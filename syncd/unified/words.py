"""Statuses and priorities of a product in the words of the unified API, and back. Pure."""

from collections.abc import Mapping, Sequence

from syncd.errors import BadRequest
from syncd.model import Status

#: The unified statuses, and whether a ticket in them is done.
STATUSES: Mapping[str, bool] = {
    "open": False, "active": False, "pending": False, "closed": True, "resolved": True, "completed": True,
    "archived": True, "spam": True, "deleted": True,
}  # fmt: skip
#: Words of trackers that say the same; what is not here is `open` or `closed`.
SAME = {
    "in progress": "active", "in-progress": "active", "chatting": "active", "testing": "active", "working": "active",
    "feedback": "pending", "need-eg": "pending", "needs info": "pending", "waiting": "pending", "deferred": "pending",
    "on hold": "pending", "stalled": "pending", "done": "completed", "done-cbb": "completed", "fixed": "resolved",
}  # fmt: skip
SETTLED = frozenset({"resolved", "completed"})
#: The priorities that most helpdesks know, from the lowest to the highest.
PRIORITIES = ("low", "normal", "high", "critical")


def unified_status(name: str, closed: bool) -> str:
    """The unified word for a product's status."""
    word = SAME.get(name.casefold(), name.casefold())
    # What is resolved waits in many trackers for whoever asked to close it: the word says more than open.
    if STATUSES.get(word) is closed or word in SETTLED:
        return word
    return "closed" if closed else "open"


def product_status(wanted: Mapping[str, str | None], statuses: Sequence[Status]) -> str:
    """The product's status for `{"id": …}` (its own word) or `{"name": …}` (the unified one). Raises BadRequest."""
    own = wanted.get("id")
    if own is not None:
        found = next((one.name for one in statuses if one.name.casefold() == own.casefold()), None)
        if found is None:
            known = ", ".join(one.name for one in statuses)
            raise BadRequest("there is no such status", [f"status.id: {own!r} is none of {known}"])
        return found
    word = wanted.get("name") or "open"
    exact = [one.name for one in statuses if one.name.casefold() == word]
    same = [one.name for one in statuses if unified_status(one.name, one.closed) == word]
    ranked = sorted(statuses, key=lambda one: [*STATUSES].index(unified_status(one.name, one.closed)))
    alike = [one.name for one in ranked if one.closed == STATUSES[word]]
    return next(iter([*exact, *same, *alike, *(one.name for one in statuses)]))


def product_priority(wanted: Mapping[str, str | None], priorities: Sequence[str]) -> str:
    """The product's priority for its own word, or for one of the usual four by its rank. Raises BadRequest."""
    word = (wanted.get("id") or wanted.get("name") or "").casefold()
    found = next((one for one in priorities if one.casefold() == word), None)
    if found is None and word in PRIORITIES and priorities:
        found = priorities[round(PRIORITIES.index(word) * (len(priorities) - 1) / (len(PRIORITIES) - 1))]
    if found is None:
        raise BadRequest("there is no such priority", [f"priority: {word!r} is none of {', '.join(priorities)}"])
    return found
