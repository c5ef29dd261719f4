"""Every write through the API is on record before it is sent; with an `Idempotency-Key` it happens once."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from aiohttp import web

from state.store import Store
from state.tables import ApiCall
from syncd import log
from syncd.errors import StoreError
from syncd.web.faults import Fault

KEY = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
#: How long an answer is kept for a repetition, and how many bytes of it.
KEEP = timedelta(hours=24)
KEPT_BYTES = 256 * 1024
MAX_KEY = 255

logger = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Replay:
    """What a repeated call gets."""

    status: int
    body: bytes


def key_of(request: web.Request) -> str | None:
    """The caller's own name for a POST or PATCH. Raises Fault for one that is none."""
    key = request.headers.get(KEY)
    if key is None or request.method not in {"POST", "PATCH"}:
        return None
    if not 0 < len(key) <= MAX_KEY or not (key.isascii() and key.isprintable()):
        raise Fault(400, f"{KEY} must be 1 to {MAX_KEY} printable ASCII characters", failures=[f"{KEY}: invalid"])
    return key


class Records:
    """Writes on record in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._under_way: set[int] = set()

    async def once(self, call: ApiCall, work: Callable[[], Awaitable[web.Response]]) -> web.Response:
        """Do the work of this call, or answer as its key's first call was answered. Raises Fault, StoreError."""
        begun = await self._store.begin_call(call, KEEP)
        if begun.former:
            return self._again(begun.former, call)
        self._under_way.add(begun.id)
        try:
            return await self._recorded(begun.id, work)
        finally:
            self._under_way.discard(begun.id)

    async def _recorded(self, number: int, work: Callable[[], Awaitable[web.Response]]) -> web.Response:
        try:
            response, nothing_happened = await work(), False
        except Fault as fault:
            response, nothing_happened = fault.response(), not fault.happened
        body = response.body if isinstance(response.body, bytes) else b""
        kept = body if len(body) <= KEPT_BYTES else None
        try:
            await self._store.end_call(number, response.status, kept, forget=nothing_happened)
        except StoreError as error:  # it did happen: the caller must hear of it
            logger.error("what became of a write through the API is not on record", call=number, error=str(error))
        return response

    def _again(self, former: ApiCall, call: ApiCall) -> web.Response:
        if former.digest != call.digest:
            raise Fault(422, f"this {KEY} belongs to another call of {former.at:%Y-%m-%d %H:%M} UTC: use a new one")
        if former.id in self._under_way:
            raise Fault(409, "the first call with this key is still under way", headers={"Retry-After": "1"})
        if former.status is None:
            raise Fault(409, "the first call with this key was cut off: look whether it landed, then use a new key")
        if former.answer is None:
            raise Fault(409, f"the first call with this key was answered {former.status}, with more than is kept")
        headers = {"Content-Type": "application/json", REPLAYED: "true"}
        return web.Response(status=former.status, body=former.answer, headers=headers)
