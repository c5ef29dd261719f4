"""Which resource and method of the proxy each operation is, derived from the operations' names.

The names are `list_all_gorgias_RESOURCES`, `get_single_gorgias_NOUN_by_id`, `create_a_gorgias_NOUN`,
`update_a_gorgias_NOUN_by_id`, `delete_a_gorgias_NOUN_by_id`, and `gorgias_RESOURCES_METHOD` for all else.
"""

import re
from collections.abc import Iterable, Mapping

from connectors.gorgias.operations import OPERATIONS

LIST = "list_all_gorgias_"
STANDARD = re.compile(r"(get_single|create_a|update_a|delete_a)_gorgias_(\w+?)(?:_by_id)?")
METHODS = {"get_single": "get", "create_a": "create", "update_a": "update", "delete_a": "delete"}
OWN = "gorgias_"
#: One account has one: it is not listed, and has no plural.
ALONE = frozenset({"account"})


def _routes(names: Iterable[str]) -> dict[tuple[str, str], str]:
    every = list(names)
    listed = {name.removeprefix(LIST) for name in every if name.startswith(LIST)}
    found = {(resource, "list"): LIST + resource for resource in listed}
    for name in every:
        if standard := STANDARD.fullmatch(name):
            found[_plural(standard[2], listed), METHODS[standard[1]]] = name
    resources = sorted({resource for resource, _ in found}, key=len, reverse=True)
    for name in every:
        if name.startswith(OWN):
            found[_own(name.removeprefix(OWN), resources)] = name
    return found


def _plural(noun: str, listed: set[str]) -> str:
    # Inferred where nothing of the kind is listed: files, customer_fields and ticket_field_values.
    return noun if noun in listed or noun in ALONE else f"{noun}s"


def _own(name: str, resources: Iterable[str]) -> tuple[str, str]:
    resource = next(known for known in resources if name.startswith(f"{known}_"))
    return resource, name.removeprefix(f"{resource}_")


#: Operation names by resource and method.
ROUTES: Mapping[tuple[str, str], str] = _routes(OPERATIONS)
RESOURCES = frozenset(resource for resource, _ in ROUTES)


def resource_of(name: str) -> str:
    """A resource's own name: dashes are underscores, and its singular or plural means it too."""
    plain = name.replace("-", "_")
    spellings = (plain, f"{plain}s", plain.removesuffix("s"))
    return next((spelling for spelling in spellings if spelling in RESOURCES), plain)
