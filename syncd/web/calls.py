"""What every call of the API has in common: its account, its errors, the product's allowance, and its record."""

import math
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from state.tables import ApiCall
from syncd.connector import Connector
from syncd.runner import utc_now
from syncd.web.accounts import Account, AccountSource, chosen
from syncd.web.faults import Fault
from syncd.web.guard import CALLER
from syncd.web.records import key_of


async def answered(
    request: web.Request,
    accounts: AccountSource,
    answer: Callable[[web.Request, Account], Awaitable[web.StreamResponse]],
) -> web.StreamResponse:
    """One call, whatever becomes of it."""
    try:
        account = chosen(request, accounts)
    except Fault as fault:
        return fault.response()
    response: web.StreamResponse
    try:
        response = await answer(request, account)
    except Fault as fault:
        response = fault.response()
    if not response.prepared:
        response.headers.update(limits(account.connector))
    return response


def limits(connector: Connector) -> dict[str, str]:
    """The product's call allowance, where it tells one: how much there is, how much is left, seconds until all is."""
    gate = connector.transport.gate if connector.transport else None
    if gate is None or not gate.capacity:
        return {}
    left = math.floor(gate.capacity * (1 - gate.used))
    return {
        "ratelimit-limit": str(int(gate.capacity)),
        "ratelimit-remaining": str(max(0, left)),
        "ratelimit-reset": str(math.ceil(gate.used * gate.window)),
    }


def record_of(
    request: web.Request, account: Account, operation: str, what: dict[str, Any], digest: Callable[[], str]
) -> ApiCall:
    """A write as it goes on record; `digest` tells one call from another, where there is a key. Raises Fault."""
    key = key_of(request)
    return ApiCall(
        workspace=account.workspace,
        side=str(account.side),
        token=request[CALLER].name,
        operation=operation,
        path=request.path,
        what=what,
        at=utc_now(),
        key=key,
        digest=digest() if key else None,
    )
