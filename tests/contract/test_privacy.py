"""From a tracker through the whole engine to Gorgias and back: nothing is mailed, nothing private shows, nothing acts.

People on both sides do whatever they like; every request that goes to Gorgias is looked at.
"""

import asyncio
import itertools
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.desk import CUSTOMER, Desk
from connectors.gorgias.sandbox.messages import NOTE, SENDABLE
from connectors.gorgias.sandbox.render import message
from connectors.memory import OWN, MemoryConnector
from state.store import Store
from syncd.engine import Engine
from syncd.model import Body, Comment, Marker, Person, Side, User
from syncd.settings import SyncSettings
from tests.fakes.gorgias import Town, town
from tests.faults.world import SHM

MANY = int(os.environ.get("SYNCD_HISTORIES", "0")) // 10 or 15
CHANNELS = ("email", "chat", "sms", "facebook-messenger", "api", NOTE)
ANN = Person("100", "Ann", "ann@customer.example")
AUTHORS = (CUSTOMER, ANN, OWN, None, Person("7", "Mia", "ops@acme.example", "user"))


@dataclass(frozen=True)
class Step:
    """Somebody does something on one side, to one of the tickets there."""

    side: Side
    what: str
    which: int
    private: bool
    author: int
    channel: str


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(list(Side)),
        st.sampled_from(["open", "say", "say", "edit", "hide", "close", "reopen"]),
        st.integers(0, 2),
        st.booleans(),
        st.integers(0, len(AUTHORS) - 1),
        st.sampled_from(CHANNELS),
    ),
    min_size=2,
    max_size=8,
)


@dataclass
class Street:
    """Both sides, the engine between them, and what was private when it was said."""

    place: Town
    desk: Desk
    engine: Engine
    clock: "Clock"
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def take(self, step: Step) -> None:
        """One step, and a pass after it."""
        if step.side is Side.REMOTE:
            self._there(step)
        else:
            self._here(step)
        await self.engine.run_pass()

    async def rest(self) -> None:
        """Passes until nothing is written; the sweep comes by, which alone sees edited messages."""
        for _ in range(10):
            self.clock.ahead += timedelta(hours=7)
            if not (await self.engine.run_pass()).writes:
                return
        raise AssertionError("the two sides do not come to rest")

    def _words(self) -> str:
        return f"words {next(self.numbers)}"

    def _there(self, step: Step) -> None:
        desk, author = self.desk, AUTHORS[step.author]
        if step.what == "open" or not desk.tickets:
            desk.add_ticket("From the tracker", self._words(), author=author)
            return
        ticket = list(desk.tickets.values())[step.which % len(desk.tickets)]
        comments = ticket.comments or ()
        if step.what == "say" or not comments:
            desk.say(ticket.id, self._words(), author=author, private=step.private)
        elif step.what in {"edit", "hide"}:
            desk.edit_comment(ticket.id, comments[step.author % len(comments)].id, self._words())
        else:
            desk.edit(ticket.id, status="closed" if step.what == "close" else "open")

    def _here(self, step: Step) -> None:
        sandbox = self.place.sandbox
        by = None if step.author == 0 else "ops@acme.example"
        if step.what == "open" or not len(sandbox.tickets):
            sandbox.create_ticket("From the helpdesk", self._words(), by=by)
            return
        tickets = [int(row["id"]) for row in sandbox.tickets]
        ticket = tickets[step.which % len(tickets)]
        messages = [row for row in sandbox.messages if row["ticket_id"] == ticket]
        if step.what == "say" or not messages:
            if step.private:
                sandbox.note(ticket, self._words(), by=by)
            elif step.author == 0:
                sandbox.customer_reply(ticket, self._words())
            else:
                sandbox.reply(ticket, self._words(), by=by, channel=step.channel)
        elif step.what == "edit":
            sandbox.edit_message(int(messages[step.author % len(messages)]["id"]), self._words())
        elif step.what == "hide":
            sandbox.edit_message(int(messages[step.author % len(messages)]["id"]), self._words(), public=False)
        else:
            sandbox.set_status(ticket, "closed" if step.what == "close" else "open")

    # -- what must hold at any time -----------------------------------------------------------------------------

    def check_wire(self) -> None:
        """No mail, and no message that would be one."""
        assert self.place.sandbox.outbox == []
        for sent in self.place.written:
            sends = sent.get("from_agent") and sent["channel"] in SENDABLE
            assert not sends or sent.get("sent_datetime"), sent

    def check_copies(self, public: bool) -> None:
        """No copy shows more than its original does."""
        theirs = {c.id: c for ticket in self.desk.tickets.values() for c in ticket.comments or ()}
        ours = {str(row["id"]): message(self.place.sandbox, row) for row in self.place.sandbox.messages}
        for row in ours.values():
            marker = Marker.parse(row.get("external_id"))
            if marker and marker.side is Side.REMOTE and (original := theirs.get(marker.id)):
                assert not row["public"] or (public and not original.private), (row, original)
        for comment in theirs.values():
            marker = Marker.parse(comment.marker)
            if marker and marker.side is Side.GORGIAS and (row := ours.get(marker.id)):
                assert comment.private or (row["public"] and row["channel"] != NOTE), (comment, row)


@dataclass
class Clock:
    """The engine's clock, which may be set ahead."""

    ahead: timedelta = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@asynccontextmanager
async def street(template: Path, folder: Path, **sync: Any) -> AsyncIterator[Street]:
    """A sandbox of Gorgias at the wire, a desk, and the engine."""
    users = (User("1", "Mia", "ops@acme.example"), User("9", "syncd", "syncd@desk.example"))
    desk, clock = Desk("tracker", users=users), Clock()
    shutil.copy(template, folder / "street.db")
    async with town() as place, Store(f"sqlite:///{folder / 'street.db'}", clock) as store:
        accounts = {Side.GORGIAS: place.connector, Side.REMOTE: MemoryConnector(desk, Side.REMOTE, "contract")}
        lease = await store.acquire("contract", "test", timedelta(days=999), lambda _holder: True)
        opened = Engine.open("contract", SyncSettings(**sync), store, lease, accounts, folder, clock)
        async with opened as engine:
            yield Street(place, desk, engine, clock)


async def play(template: Path, folder: Path, steps: Sequence[Step], public: bool) -> None:
    """Take all steps, and look after each."""
    settled = {"comments_to_gorgias": "public", "allow_send": True} if public else {}
    async with street(template, folder, **settled) as both:
        for step in steps:
            await both.take(step)
            both.check_wire()
        await both.rest()
        both.check_wire()
        both.check_copies(public)


@pytest.mark.promise("P24", "P36")
@settings(max_examples=MANY, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(STEPS, st.booleans())
def test_whatever_people_do_nobody_is_mailed_and_nothing_private_shows(
    sqlite_template: Path, steps: Sequence[Step], public: bool
) -> None:
    """Through translation, planning and writing, with every author, channel and degree of privacy."""
    with TemporaryDirectory(prefix="syncd-street-", dir=SHM) as folder:
        asyncio.run(play(sqlite_template, Path(folder), steps, public))


@pytest.mark.promise("P12")
async def test_who_answers_and_closes_has_closed(sqlite_template: Path, tmp_path: Path) -> None:
    """A public message reopens a closed ticket of Gorgias: the answer goes there first, and the close after it."""
    async with street(sqlite_template, tmp_path, comments_to_gorgias="public", allow_send=True) as both:
        theirs = both.desk.add_ticket("From the tracker", "It is broken")
        await both.rest()
        both.desk.say(theirs, "It is mended")
        both.desk.edit(theirs, status="closed")
        await both.rest()
        (row,) = both.place.sandbox.tickets
        messages = [m["body_text"] for m in both.place.sandbox.ticket(int(row["id"]))["messages"]]
        assert "It is mended" in messages[-1]
        assert (row["status"], both.desk.tickets[theirs].status) == ("closed", "closed")


# -- what acts --------------------------------------------------------------------------------------------------------

NASTY = (
    "<script>alert(1)</script>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<svg onload=alert(1)><animate onbegin=alert(1)></svg>",
    "<svg><a xlink:href='javascript:alert(1)'><text>x</text></a></svg>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<math><mi//xlink:href='data:x,<script>alert(1)</script>'></math>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<p style='background:url(javascript:alert(1))' onclick=alert(1)>x</p>",
    "<style>@import '//evil.example/x.css';</style><link rel=stylesheet href=//evil.example/x.css>",
    "<a href='javascript:alert(1)'>x</a><a href='&#106;ava&#10;script:alert(1)'>y</a>",
    "<a href='JaVa\tscript:alert(1)'>x</a><a href='vbscript:alert(1)'>y</a>",
    "<a href='data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg=='>x</a>",
    "<img src='data:image/svg+xml,<svg onload=alert(1)>'><img src=x onerror=alert(1)>",
    "<img srcset='//evil.example/x 1x' src='https://files.example/y' onload=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe><object data=x></object><embed src=x>",
    "<base href=//evil.example><a href=/x>x</a>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<form action=//evil.example><input name=key autofocus onfocus=alert(1)><button>go</button></form>",
    "<details open ontoggle=alert(1)>x</details><video><source onerror=alert(1)></video>",
    "<template><script>alert(1)</script></template><textarea></textarea><script>alert(1)</script>",
)
WORDS = "b del em i ins kbd code s samp strike strong sub sup u a"
BLOCKS = "blockquote br dd details div dl dt h1 h2 h3 h4 h5 h6 hr img li ol p pre summary ul"
TABLES = "table tbody td th thead tr"
KNOWN_TAGS = frozenset(f"{WORDS} {BLOCKS} {TABLES}".split(" "))
KNOWN_ATTRIBUTES = frozenset({"href", "rel", "src", "alt", "width", "height", "start", "colspan", "rowspan"})


class Look(HTMLParser):
    """What stands in HTML that could act."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.acts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Only what is known to be harmless is."""
        self.acts += [] if tag in KNOWN_TAGS else [tag]
        for name, value in attrs:
            address = name not in {"href", "src"} or (value or "").startswith(("https://", "http://", "mailto:"))
            self.acts += [] if name in KNOWN_ATTRIBUTES and address else [f"{tag} {name}={value}"]

    def handle_comment(self, data: str) -> None:
        """A comment may end anywhere."""
        self.acts.append(data)


@pytest.mark.promise("P42")
async def test_html_of_neither_side_acts_on_the_other(sqlite_template: Path, tmp_path: Path) -> None:
    """What customers and colleagues send each other is sanitised before it reaches the other product."""
    async with street(sqlite_template, tmp_path) as both:
        there = both.desk.add_ticket("From the tracker", "first")
        here = both.place.sandbox.create_ticket("From the helpdesk", "first")
        for html in NASTY:
            # An agent whom Gorgias knows needs no line with their name: nothing is done to their text for that.
            both.desk.append(there, Comment("", Body("words", html), AUTHORS[-1]), by_person=True)
            both.place.sandbox.customer_reply(here, "words", body_html=html)
        await both.rest()
        arrived = [c for ticket in both.desk.tickets.values() for c in ticket.comments or () if c.marker]
        sent = [message["body_html"] for message in both.place.written]
        stored = [comment.body.html for comment in arrived if comment.body.html]
    assert (len(arrived), len(sent)) == (len(NASTY) + 1, len(NASTY) + 1)
    assert stored
    assert {html: Look(html).acts for html in [*sent, *stored] if Look(html).acts} == {}
