"""Which account a call of the API is about: `integrated_account_id`, or the token's own workspace."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from syncd.access import Caller
from syncd.connector import Connector
from syncd.errors import SyncdError
from syncd.model import Side
from syncd.web.faults import Fault
from syncd.web.guard import CALLER

ACCOUNT = "integrated_account_id"


class Worked(Protocol):
    """A workspace that is worked on in this process."""

    @property
    def accounts(self) -> Mapping[Side, Connector]:
        """The open accounts by side."""


class AccountSource(Protocol):
    """Who has the accounts: workspaces that are worked on here, and those that are not, and why."""

    @property
    def runners(self) -> Mapping[str, Worked]:
        """By workspace."""

    @property
    def kept_out(self) -> Mapping[str, SyncdError]:
        """By workspace."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account that was chosen."""

    workspace: str
    side: Side
    connector: Connector


def chosen(request: web.Request, source: AccountSource) -> Account:
    """The account that the request means. Raises Fault where there is none, or the caller must not see it."""
    caller = request[CALLER]
    workspace, side = _named(request, caller, [*source.runners, *source.kept_out])
    if caller.workspace not in (None, workspace):
        raise Fault(403, f"this token is for the workspace {caller.workspace} and sees no other")
    if workspace in source.runners:
        return Account(workspace, side, source.runners[workspace].accounts[side])
    if workspace in source.kept_out:
        raise Fault(503, f"the workspace {workspace} is not worked on here: {source.kept_out[workspace]}")
    raise Fault(404, f"there is no workspace {workspace!r}")


def _named(request: web.Request, caller: Caller, known: Sequence[str]) -> tuple[str, Side]:
    given = request.query.getall(ACCOUNT, [])
    if len(given) > 1:
        raise Fault(400, f"{ACCOUNT} is given more than once")
    workspace, colon, side = given[0].partition(":") if given else (caller.workspace or "", "", "")
    if not workspace and len(known) == 1 and not given:
        workspace = known[0]
    if not workspace:
        raise Fault(400, f"which account? Give {ACCOUNT}=WORKSPACE or WORKSPACE:SIDE", failures=[f"{ACCOUNT}: missing"])
    if side not in set(Side) and colon:
        raise Fault(400, f"{ACCOUNT}: a side is {' or '.join(Side)}", failures=[f"{ACCOUNT}: no such side {side!r}"])
    return workspace, Side(side) if colon else Side.GORGIAS
