"""What the sandbox's account holds, its clock, its log of events and its choices; all other modules work on it."""

import asyncio
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.gorgias.sandbox.table import Row, Table

Doc = dict[str, Any]


#: The kinds of which an account has few, and where their ids begin.
SMALL = {
    "teams": 11,
    "views": 41,
    "custom_fields": 319_001,
    "integrations": 61,
    "macros": 701,
    "rules": 801,
    "widgets": 851,
    "surveys": 901,
    "jobs": 951,
    "settings": 21,
    "voice_calls": 3001,
    "recordings": 3501,
    "voice_events": 3701,
}


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A leaky bucket: `cap` requests fit at once, `leak` of them drain each second (documented: 40, and 2 a second)."""

    cap: int = 40
    leak: float = 2.0


@dataclass(frozen=True, slots=True)
class Options:
    """How the sandbox behaves where the API leaves a choice or a test wants one."""

    email: str = "ops@acme.example"
    api_key: str = "sandbox-key"
    accounts: Mapping[str, str] = field(default_factory=dict)  # further e-mails and their keys
    bearers: Mapping[str, str] = field(default_factory=dict)  # OAuth2 access tokens and the e-mail each acts for
    app: tuple[str, str] | None = None  # an OAuth2 app's id and secret; it acts for `email`
    token_life: int = 24 * 3600  # seconds (documented)
    domain: str = "sandbox"
    rate_limit: RateLimit | None = None  # None: no limit, and no header about it
    max_upload: int = 10 * 1024 * 1024  # inferred: the real limit is not documented
    skew: timedelta = timedelta(0)  # how far the sandbox's clock is ahead of the given one
    send_delay: float = 0.02  # seconds until a queued message is sent or fails
    hook_backoff: float = 0.05  # seconds before the first repeat of a webhook; doubles
    message_events: bool = False  # whether edits and deletions of messages are logged: recorded neither way
    bulk_fields_replace: bool = False  # whether PUT of a ticket's fields drops the unnamed ones: disputed
    enrich_after: float | None = None  # seconds after which a new ticket moves once more, by nobody: recorded
    messaging_quota: int | None = None  # messages that may still be sent; behind them a 403


@dataclass(frozen=True, slots=True)
class Act:
    """One request, or one thing a person does: whose it is, and the context its events share."""

    user_id: int | None
    api: bool = False
    context: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True, slots=True)
class Mail:
    """A message that would have left for a customer because of an API request."""

    ticket_id: int
    message_id: int
    channel: str
    to: tuple[str, ...]
    subject: str | None
    body_text: str | None
    deliverable: bool


class Fault(Exception):
    """An answer that is not a success, in the API's envelope."""

    def __init__(self, status: int, msg: str, data: Mapping[str, list[str]] | None = None, location: str = "") -> None:
        super().__init__(msg)
        self.status = status
        self.error = {"msg": msg} | ({"data": dict(data)} if data else {})
        self.location = location


def wrong(field_name: str, text: str, msg: str = "Invalid request.") -> Fault:
    """A 400 about one field."""
    return Fault(400, msg, {field_name: [text]})


def not_found() -> Fault:
    """The 404 of the API (documented text)."""
    return Fault(404, "Resource not found.")


class World:
    """The account: tables, clock, events, outbox. It knows no HTTP."""

    def __init__(self, options: Options | None = None, now: Callable[[], datetime] | None = None) -> None:
        self.options = options or Options()
        self.base_url = f"https://{self.options.domain}.gorgias.com"
        self.outbox: list[Mail] = []
        self.listeners: list[Callable[[Row], None]] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self._now = now or (lambda: datetime.now(UTC))
        self._last = datetime.min.replace(tzinfo=UTC)
        # Every table counts from elsewhere, so that an id used for the wrong kind of object is not found.
        self.tickets = Table(
            "tickets",
            1001,
            order=("created_datetime", "updated_datetime"),
            index=("external_id", "customer_id", "tags", "assignee_user_id", "assignee_team_id"),
        )
        self.messages = Table("messages", 20_001, order=("created_datetime",), index=("ticket_id",))
        self.customers = Table(
            "customers", 5001, order=("created_datetime", "updated_datetime"), index=("email", "external_id")
        )
        # Real event ids have outgrown 32 bits.
        self.events = Table("events", 2_190_000_001, order=("created_datetime",), index=("object_id",))
        self.users = Table("users", 101, index=("email", "external_id"))
        self.tags = Table("tags", 301, index=("name",))
        self.files = Table("files", 1, index=("path",))
        self.moved = Table("moved", 1, index=("old",))
        self.blobs: dict[str, bytes] = {}
        kinds = (
            self.tickets,
            self.messages,
            self.customers,
            self.events,
            self.users,
            self.tags,
            self.files,
            self.moved,
        )
        self.tables = {table.name: table for table in kinds} | {name: Table(name, at) for name, at in SMALL.items()}
        self.channel_ids = 7000

    def __getitem__(self, table: str) -> Table:
        return self.tables[table]

    def now(self) -> datetime:
        """The account's clock: two readings in the same moment still differ, by a microsecond."""
        moment = self._now().astimezone(UTC) + self.options.skew
        if moment <= self._last < moment + timedelta(milliseconds=5):
            moment = self._last + timedelta(microseconds=1)
        self._last = moment
        return moment

    @contextmanager
    def at(self, moment: datetime) -> Iterator[None]:
        """Live in another moment for a while: what is done there is dated there."""
        kept, self._now = self._now, lambda: moment - self.options.skew
        try:
            yield
        finally:
            self._now = kept

    def stamp(self) -> str:
        """The clock as the API writes it."""
        return stamp(self.now())

    def log(self, act: Act, kind: str, object_type: str, object_id: int, data: Doc | None = None) -> None:
        """Write an event, and tell those who listen."""
        event = self.events.add(
            {
                "context": act.context,
                "created_datetime": self.stamp(),
                "data": data,
                "object_id": object_id,
                "object_type": object_type,
                "type": kind,
                "user_id": act.user_id,
            }
        )
        for listener in self.listeners:
            listener(event)

    def later(self, delay: float, action: Callable[[], None]) -> None:
        """Do this after so many seconds; at once where no event loop runs."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            action()
            return
        self.spawn(_after(delay, action))

    def spawn(self, coroutine: Any) -> None:
        """Run a coroutine beside the requests; `close` ends it."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def row(self, table: str, row_id: int) -> Row:
        """The row of this id: a 301 where it was merged away (third-party), a 404 where there is none."""
        found = self.tables[table].get(row_id)
        if found is not None:
            return found
        heir = self.heir(table, row_id)
        if heir is None:
            raise not_found()
        noun = table.removesuffix("s")
        raise Fault(301, f"{noun}_merged", location=f"/api/{table}/{heir}/")

    def heir(self, table: str, row_id: int) -> int | None:
        """The id of the object this one was merged into, at the end of the chain; None where it was not."""
        found = None
        while moved := self.moved.where("old", f"{table}/{row_id}"):
            found = row_id = moved[-1]["new"]
        return found


async def _after(delay: float, action: Callable[[], None]) -> None:
    await asyncio.sleep(delay)
    action()


def stamp(moment: datetime) -> str:
    """A moment as the API writes it: microseconds and the offset of UTC."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def normal(value: str | None) -> str | None:
    """A moment as a client may write it, as the API stores it; without an offset it is UTC."""
    if value is None:
        return None
    moment = datetime.fromisoformat(value.upper())
    return stamp(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def only_given(**values: Any) -> Doc:
    """These values without those that are None."""
    return {key: value for key, value in values.items() if value is not None}
