"""What is stored for programs, said for people: products, tickets, and what a parked write was to do."""

from collections.abc import Mapping

from state.tables import Link
from syncd.model import CUSTOM, Side
from syncd.settings import Workspace

Products = Mapping[Side, str]


def products(workspace: Workspace) -> Products:
    """Both sides' products, as people call them."""
    return {Side.GORGIAS: "Gorgias", Side.REMOTE: workspace.remote_connector.replace("_", " ").title()}


def ticket(names: Products, side: Side, ticket_id: str) -> str:
    """A ticket of one side."""
    return f"{names[side]} ticket {ticket_id}"


def pair(names: Products, link: Link | None) -> str:
    """Both tickets of a link, as far as they are known."""
    if link is None:
        return "a ticket that is not known any more"
    known = {Side.GORGIAS: link.gorgias_id, Side.REMOTE: link.remote_id}
    return " = ".join(ticket(names, side, found) for side, found in known.items() if found)


def field(name: str) -> str:
    """A field's name without the mark of a custom one."""
    return name.removeprefix(CUSTOM)


def parked(what: str, names: Products) -> str:
    """What a parked write was to do, out of `SIDE:FIELD`, `SIDE:tags`, `SIDE:comment:ID` and their kind."""
    side, _, rest = what.partition(":")
    if side not in set(Side):
        return what
    here, there = names[Side(side)], names[Side(side).other]
    kind, _, detail = rest.partition(":")
    sentences = {
        "create": f"make its copy in {here}",
        "delete": f"end its copy in {here}",
        "tags": f"change its tags in {here}",
        "comment": f"copy comment {detail} of {there} to {here}",
        "edit": f"change the text of comment {detail} in {here}",
    }
    return sentences.get(kind, f"set {field(rest)!r} in {here}")
