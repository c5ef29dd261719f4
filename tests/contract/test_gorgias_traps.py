"""What is easily done wrong with Gorgias, at the wire."""

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from pydantic import ValidationError

from connectors.gorgias import account as account_module
from connectors.gorgias import feeds
from connectors.gorgias.client import Client
from connectors.gorgias.connector import GorgiasConfig, GorgiasConnector
from connectors.gorgias.sandbox import Options, tags
from connectors.gorgias.sandbox.fields import put
from connectors.gorgias.sandbox.world import Act
from syncd.connector import Change, Changes, Upload
from syncd.errors import Forbidden, Gone, Moved, Refused, TooLarge
from syncd.http import Transport
from syncd.model import Attachment, Body, Comment, Person, Side, Ticket
from tests.fakes.gorgias import Handler, Town, config, town
from tests.unit.http_servers import scripted, serving

MARKER = "syncd:contract:remote:5"
DRAFT = Ticket("5", "A parcel", comments=(Comment("c1", Body("Hello"), private=True, marker=f"{MARKER}-1"),))


def changing(change: Callable[[web.Request, Any], Any]) -> Callable[[web.Request, Handler], Awaitable[web.Response]]:
    """A sandbox whose JSON is not quite its own."""

    async def tweak(request: web.Request, handler: Handler) -> web.Response:
        answer = await handler(request)
        assert isinstance(answer, web.Response)
        if answer.status < 300 and answer.content_type == "application/json":
            answer.body = orjson.dumps(change(request, orjson.loads(bytes(answer.body or b"null"))))  # type: ignore[arg-type]
        return answer

    return tweak


def upload(path: Path, name: str, content: bytes) -> Upload:
    """A file on disk."""
    path.write_bytes(content)
    return Upload(path, name, "text/plain", len(content), hashlib.sha256(content).hexdigest())


async def look(place: Town, cursors: dict[str, str]) -> list[Change]:
    """Every change since the cursors, which move on."""
    found: list[Change] = []
    for stream in place.connector.streams:
        async for page in place.connector.changes(stream, cursors.get(stream)):
            found += page.changes
            cursors[stream] = page.cursor
    return found


def field_of(place: Town, label: str = "Severity") -> int:
    """A new custom field of tickets."""
    definition = {"data_type": "text", "input_settings": {"input_type": "input"}}
    row = {"label": label, "object_type": "Ticket", "definition": definition, "created_datetime": place.sandbox.stamp()}
    return int(place.sandbox["custom_fields"].add(row)["id"])


# -- reading ------------------------------------------------------------------------------------------------------


async def test_rows_without_custom_fields_say_nothing_about_them() -> None:
    """A list that leaves custom fields out (older accounts) does not read as if they had been emptied."""

    def without(request: web.Request, doc: Any) -> Any:
        if request.path == "/api/tickets":
            for row in doc["data"]:
                row.pop("custom_fields", None)
        return doc

    async with town(tweak=changing(without)) as place:
        number = field_of(place)
        ticket = str(place.sandbox.create_ticket("Where is it?", "Hello"))
        put(place.sandbox, place.sandbox.tickets[int(ticket)], "Ticket", [{"id": number, "value": "high"}])
        assert (await place.connector.get(ticket)).fields == {"Severity": "high"}
        assert (await place.connector.get_many([ticket]))[ticket].fields is None
        short = (await place.connector.get_many([ticket]))[ticket]
        written = await place.connector.update(short, Changes({"field:Severity": "low"}))
        assert written.fields == {"Severity": "low"}


async def test_full_reads_ask_for_custom_fields() -> None:
    """`relationships` is sent, because some accounts embed custom fields only then."""
    async with town() as place:
        await place.connector.get(str(place.sandbox.create_ticket("Where is it?", "Hello")))
        assert place.asked[-1][:2] == ("GET", "/api/tickets/1001?relationships=custom_fields")


async def test_the_trash_reads_as_closed() -> None:
    """A ticket in the trash is closed and marked so; opening it from the other side takes it out."""
    async with town() as place:
        number = place.sandbox.create_ticket("Where is it?", "Hello")
        place.sandbox.trash(number)
        ticket = await place.connector.get(str(number))
        assert (ticket.status, ticket.trashed) == ("closed", True)
        assert (await place.connector.get_many([ticket.id]))[ticket.id].trashed
        opened = await place.connector.update(ticket, Changes({"status": "open"}))
        assert (opened.status, opened.trashed) == ("open", False)


async def test_spam_is_hidden() -> None:
    """What is spam is not copied."""
    async with town() as place:
        number = place.sandbox.create_ticket("Win!", "Hello")
        place.sandbox.mark_spam(number)
        assert (await place.connector.get(str(number))).hidden
        place.sandbox.mark_spam(number, False)
        assert not (await place.connector.get(str(number))).hidden


async def test_a_merged_ticket_is_moved_to_its_survivor() -> None:
    """Reading and writing a ticket that was merged names the one it lives on in, and writes nothing there."""
    async with town() as place:
        source, target = (place.sandbox.create_ticket(name, "Hello") for name in ("source", "target"))
        ticket = await place.connector.get(str(source))
        place.sandbox.merge(target, source)
        remark = DRAFT.comments[0] if DRAFT.comments else None
        assert remark
        calls: list[Awaitable[Any]] = [
            place.connector.get(ticket.id),
            place.connector.update(ticket, Changes({"status": "closed"})),
            place.connector.update(ticket, Changes(add_tags=frozenset({"a"}))),
            place.connector.comment(ticket.id, remark, []),
        ]
        for call in calls:
            with pytest.raises(Moved) as moved:
                await call
            assert moved.value.to == str(target)
        assert place.sandbox.ticket(target)["status"] == "open"


async def test_of_several_copies_the_oldest_is_first() -> None:
    """Nothing keeps `external_id` unique: all that carry it are found, the oldest first, and none with a longer one."""
    newest_first = changing(lambda request, doc: doc | {"data": doc["data"][::-1]} if request.query else doc)
    async with town(tweak=newest_first) as place:
        for marker in (MARKER, MARKER, f"{MARKER}0", MARKER):
            await place.connector.create(DRAFT, marker, {})
        assert [ticket.id for ticket in await place.connector.find(MARKER)] == ["1001", "1002", "1004"]


async def test_odd_dates_and_nulls_are_read() -> None:
    """Blanks for the T, no offsets, null attachments, and ids that need more than 32 bits."""

    def odd(request: web.Request, doc: Any) -> Any:
        if re.fullmatch(r"/api/tickets/\d+", request.path):
            doc |= {"id": 3_000_000_000, "updated_datetime": "2026-08-26 12:46:06", "customer": None, "tags": None}
            doc["created_datetime"] = "2026-08-26T12:46:06.231080"
            first, second = doc["messages"]
            first |= {"id": 9_000_000_002, "created_datetime": "2026-08-26 12:46:07", "attachments": None}
            second |= {"id": 9_000_000_001, "created_datetime": "2026-08-26T12:46:06.5+00:00", "sender": None}
        return doc

    async with town(tweak=changing(odd)) as place:
        number = place.sandbox.create_ticket("Where is it?", "Hello")
        place.sandbox.reply(number, "Here")
        ticket = await place.connector.get(str(number))
    assert ticket.id == "3000000000"
    assert ticket.updated_at == datetime(2026, 8, 26, 12, 46, 6, tzinfo=UTC)
    assert [comment.id for comment in ticket.comments or ()] == ["9000000001", "9000000002"]
    assert [comment.attachments for comment in ticket.comments or ()] == [(), ()]


@pytest.mark.parametrize("ticket_id", ["x", "", "-1", "1_0", "٣", "9" * 30, "1 "])
async def test_an_id_that_is_none_is_gone(ticket_id: str) -> None:
    """What cannot be an id is an absence, without a call, and does not spoil the others."""
    async with town() as place:
        number = str(place.sandbox.create_ticket("Where is it?", "Hello"))
        with pytest.raises(Gone):
            await place.connector.get(ticket_id)
        await place.connector.delete(ticket_id)
        assert list(await place.connector.get_many([ticket_id, number])) == [number]


async def test_new_words_are_learnt() -> None:
    """An agent who joined is known after a while, without a restart."""
    async with town() as place:
        before = await place.connector.vocabulary()
        place.sandbox.users.add({"email": "new@acme.example", "name": "New", "role": {"name": "agent"}})
        assert await place.connector.vocabulary() == before
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(account_module, "RELEARN", 0.0)
            after = await place.connector.vocabulary()
    assert [user.name for user in set(after.users) - set(before.users)] == ["New"]


# -- writing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202])
async def test_any_success_will_do(status: int) -> None:
    """Which 2xx a write answers is disputed: each counts."""

    async def tweak(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        if answer.status in {200, 201, 202}:
            answer.set_status(status)
        return answer

    async with town(tweak=tweak) as place:
        made = await place.connector.create(DRAFT, MARKER, {})
        changed = await place.connector.update(made, Changes({"status": "closed"}, frozenset({"a"})))
        assert (changed.status, changed.tags) == ("closed", {"a"})
        assert (await place.connector.comment(made.id, (DRAFT.comments or ())[0], [])).comment.private


async def test_a_put_names_every_custom_field() -> None:
    """Whether a PUT drops the custom fields that it does not name is disputed: it names all that have a value."""
    async with town() as place:
        for label in ("Severity", "Area", "Empty"):
            field_of(place, label)
        made = await place.connector.create(replace(DRAFT, fields={"Severity": "high", "Area": "shop"}), MARKER, {})
        changed = await place.connector.update(made, Changes({"field:Severity": None}))
        (body,) = place.bodies("PUT", f"/tickets/{made.id}")
        assert changed.fields == {"Severity": None, "Area": "shop", "Empty": None}
    assert sorted(map(str, (item["value"] for item in body["custom_fields"]))) == ["None", "shop"]


async def test_an_unknown_team_is_refused() -> None:
    """A team that is not there never reads as no team."""
    async with town() as place:
        team = place.sandbox["teams"].add({"name": "Tier 2", "created_datetime": place.sandbox.stamp()})["id"]
        made = await place.connector.create(replace(DRAFT, team="Tier 2"), MARKER, {})
        for write in (
            place.connector.update(made, Changes({"team": "Tier 3"})),
            place.connector.create(replace(DRAFT, team="Tier 3"), MARKER, {}),
        ):
            with pytest.raises(Refused, match="Tier 2"):
                await write
        assert place.sandbox.tickets[int(made.id)]["assignee_team_id"] == team
        assert (await place.connector.update(made, Changes({"team": None}))).team is None


async def test_a_known_customer_keeps_their_name() -> None:
    """A customer is found by address and not renamed; an unknown one is made; an agent never becomes one."""
    async with town() as place:
        place.sandbox.customer("ann@customer.example", "Ann Lee")
        people = [Person("1", "annie", "Ann@Customer.example"), Person("2", "Bob", "bob@customer.example"),
                  Person("3", "Ops", "ops@acme.example"), Person("4", "No address", "nonsense")]  # fmt: skip
        made = [await place.connector.create(replace(DRAFT, contact=who), MARKER, {}) for who in people]
        assert [ticket.contact and ticket.contact.name for ticket in made] == ["Ann Lee", "Bob", None, None]
        assert place.sandbox.customers.where("email", "ann@customer.example")[0]["name"] == "Ann Lee"


async def test_a_ticket_without_words_is_made() -> None:
    """Gorgias wants a message: the title becomes a note, which is known as ours and never becomes news."""
    async with town() as place:
        made = await place.connector.create(replace(DRAFT, comments=()), MARKER, {})
        (note,) = made.comments or ()
        assert (note.body.text, note.private, note.marker) == ("A parcel", True, f"{MARKER}.subject")


async def test_only_what_was_never_mailed_is_edited() -> None:
    """Notes and our own messages are; what a customer wrote, or was sent, is refused and stays as it was."""
    async with town() as place:
        number = place.sandbox.create_ticket("Where is it?", "Hello")
        place.sandbox.reply(number, "A mail")
        place.sandbox.note(number, "A note")
        ticket = await place.connector.get(str(number))
        for comment, editable in zip(ticket.comments or (), (False, False, True), strict=True):
            edit = place.connector.edit_comment(ticket.id, replace(comment, body=Body("changed")))
            if editable:
                assert (await edit).body.text == "changed"
            else:
                with pytest.raises(Refused):
                    await edit
        texts = [comment.body.text for comment in (await place.connector.get(ticket.id)).comments or ()]
        assert texts == ["Hello", "A mail", "changed"]


# -- tags ---------------------------------------------------------------------------------------------------------


async def in_strict_town(act: Callable[[Town], Awaitable[None]]) -> Town:
    """Act where unknown tags are refused."""
    keep: dict[str, Any] = {}

    async def tweak(request: web.Request, handler: Handler) -> web.StreamResponse:
        names = _tag_names(request.method, request.path, await request.read())
        if names - {row["name"] for row in keep["place"].sandbox.tags}:
            return web.json_response({"error": {"msg": "Unknown tag."}}, status=400)
        return await handler(request)

    async with town(tweak=tweak) as keep["place"]:
        await act(keep["place"])
    place: Town = keep["place"]
    return place


def _tag_names(method: str, path: str, raw: bytes) -> set[str]:
    if method != "POST" or not re.fullmatch(r"/api/tickets(/\d+/tags)?", path):
        return set()
    body = orjson.loads(raw)
    return {*body.get("names", ()), *(tag["name"] for tag in body.get("tags", ()))}


async def test_an_unknown_tag_is_made_first() -> None:
    """Whether Gorgias makes a tag on the fly is disputed: it is there before a ticket names it, and made once."""

    async def act(place: Town) -> None:
        made = await place.connector.create(replace(DRAFT, tags=frozenset({"a", "b"})), MARKER, {})
        assert made.tags == {"a", "b"}
        changed = await place.connector.update(made, Changes(add_tags=frozenset({"b", "c"})))
        assert changed.tags == {"a", "b", "c"}

    place = await in_strict_town(act)
    assert [body["name"] for body in place.bodies("POST", "/api/tags")] == ["a", "b", "c"]


async def test_a_tag_that_somebody_makes_meanwhile_is_fine() -> None:
    """409 to a new tag says that it is there."""

    async def tweak(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == "/api/tags" and request.method == "GET":
            return web.json_response({"data": [], "meta": {}})
        return await handler(request)

    async with town(tweak=tweak) as place:
        tags.create(place.sandbox, Act(None), {"name": "a"})
        assert (await place.connector.create(replace(DRAFT, tags=frozenset({"a"})), MARKER, {})).tags == {"a"}


async def test_a_tag_that_was_deleted_is_made_again() -> None:
    """What is remembered of the tags may be old: a tag that is gone is made anew, on a ticket and with one."""

    async def act(place: Town) -> None:
        made = await place.connector.create(replace(DRAFT, tags=frozenset({"a"})), MARKER, {})
        for rounds in range(2):
            tags.delete(place.sandbox, Act(None), place.sandbox.tags.where("name", "a")[0])
            if rounds:
                made = await place.connector.create(replace(DRAFT, tags=frozenset({"a"})), MARKER, {})
            else:
                made = await place.connector.update(made, Changes(add_tags=frozenset({"a"})))
            assert made.tags == {"a"}

    await in_strict_town(act)


async def test_a_refusal_that_is_not_about_tags_stays_one() -> None:
    """A write that is refused although all its tags are there is made once."""
    async with town() as place:
        field_of(place)
        draft = replace(DRAFT, tags=frozenset({"a"}), assignee="4711")
        with pytest.raises(Refused):
            await place.connector.create(draft, MARKER, {})
        assert len(place.bodies("POST", "/api/tickets")) == 1
        with pytest.raises(Gone):
            await place.connector.update(replace(DRAFT, id="4711"), Changes(add_tags=frozenset({"a"})))


# -- files --------------------------------------------------------------------------------------------------------

NAMES = ("plain.txt", 'a "quoted"; name.txt', "📦 päckchen.png", "line\r\nbreak.txt", "per%20cent.txt", "back\\slash")


@pytest.mark.parametrize("name", NAMES)
async def test_an_upload_is_a_form_that_any_parser_takes(tmp_path: Path, name: str) -> None:
    """A Content-Length, one part, `name` and `filename` as browsers write them, and no `name*`."""
    seen: list[tuple[Mapping[str, str], bytes]] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        seen.append((request.headers, await request.read()))
        return web.json_response([{"url": "https://files.example/1", "name": "x"}], status=201)

    content = b"--\r\n" * 50_000
    async with serving(handle) as url, Transport(url, "Gorgias") as transport:
        stored = await Client(transport).upload(upload(tmp_path / "file", name, content))
    assert stored["url"] == "https://files.example/1"
    headers, raw = seen[0]
    assert headers["Content-Length"] == str(len(raw))
    assert "Transfer-Encoding" not in headers
    kind = re.fullmatch(r'multipart/form-data; boundary="?([0-9A-Za-z]+)"?', headers["Content-Type"])
    assert kind
    boundary = kind[1].encode()
    assert raw.startswith(b"--" + boundary + b"\r\n")
    assert raw.endswith(b"\r\n--" + boundary + b"--\r\n")
    head, _, body = raw.removeprefix(b"--" + boundary + b"\r\n").partition(b"\r\n\r\n")
    assert body == content + b"\r\n--" + boundary + b"--\r\n"
    escaped = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
    assert lines["Content-Disposition"] == f'form-data; name="{escaped}"; filename="{escaped}"'
    assert lines["Content-Type"] == "text/plain"


async def test_a_file_that_is_too_large_says_so(tmp_path: Path) -> None:
    """413 is TooLarge, and the message is not written without its file."""
    async with town(Options(max_upload=1000)) as place:
        number = place.sandbox.create_ticket("Where is it?", "Hello")
        remark = (DRAFT.comments or ())[0]
        with pytest.raises(TooLarge):
            await place.connector.comment(str(number), remark, [upload(tmp_path / "file", "big.txt", bytes(5_000_000))])
        assert len(place.sandbox.ticket(number)["messages"]) == 1


async def test_files_come_from_known_hosts_only() -> None:
    """Own host or `attachment_hosts`, no private address unless configured, and no credentials elsewhere."""
    async with scripted(last=(200, {}, b"bytes")) as store, town() as place:
        file = Attachment("1", "a.txt", url=store.url + "/a.txt")

        async def fetch(**more: Any) -> bytes:
            async with GorgiasConnector.open(
                config(place.sandbox.base_url, **more), Side.GORGIAS, "contract"
            ) as connector:
                return b"".join([chunk async for chunk in connector.download(file)])

        for refused in ({}, {"attachment_hosts": ["127.0.0.1"]}, {"attachments_from_private_hosts": True}):
            with pytest.raises(Forbidden):
                await fetch(**refused)
        assert store.asked == []
        allowed = {"attachment_hosts": ["127.0.0.1"], "attachments_from_private_hosts": True}
        assert await fetch(**allowed) == b"bytes"
        assert "Authorization" not in store.asked[0].headers
        with pytest.raises(Gone):
            await anext(aiter(place.connector.download(replace(file, url=None))))


async def test_an_attachments_name_leads_nowhere() -> None:
    """A name that Gorgias shows is a name only, and a size may be a text."""
    async with town() as place:
        file = place.sandbox.attach("../../etc/passwd", "text/plain", b"x")
        number = place.sandbox.create_ticket("Where is it?", "Hello", message={"attachments": [{**file, "size": "1"}]})
        ((shown,),) = [comment.attachments for comment in (await place.connector.get(str(number))).comments or ()]
    assert (shown.file_name, shown.size) == ("passwd", 1)


# -- feeds --------------------------------------------------------------------------------------------------------


async def test_an_idle_look_costs_a_call_for_each_stream() -> None:
    """So does a first load of up to a hundred tickets, beside the three calls that learn the words."""
    async with town() as place:
        for number in range(100):
            place.sandbox.create_ticket(f"No. {number}", "Hello")
        cursors: dict[str, str] = {}
        assert len(await look(place, cursors)) == 100
        assert len(place.asked) == 2 + 3
        for _ in range(3):
            place.asked.clear()
            await look(place, cursors)
            assert [path.partition("?")[0] for _, path, _ in place.asked] == ["/api/events", "/api/tickets"]


async def test_events_that_show_up_late_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that becomes visible behind a newer one is found in the overlap; who read it before knows its id."""
    async with town() as place:
        number = place.sandbox.create_ticket("Where is it?", "Hello")
        cursors: dict[str, str] = {}
        await look(place, cursors)
        place.sandbox.assign(number, "ops@acme.example")
        early = {change.event for change in await look(place, cursors) if change.event}
        for late, every in ((5, 60.0), (100, 0.0)):
            with place.sandbox.at(datetime.now(UTC) - timedelta(seconds=late)):
                place.sandbox.log(Act(None), "ticket-snoozed", "Ticket", number)
            monkeypatch.setattr(feeds, "FULL_EVERY", every)
            shown = {change.event for change in await look(place, cursors) if change.event}
            assert early < shown
            early = shown


async def test_an_account_whose_clock_is_behind_hides_nothing() -> None:
    """How far a feed was read is told by what it showed, and not by our own clock, which may be minutes ahead."""
    async with town() as place:
        cursors: dict[str, str] = {}
        for minutes in (30, 20, 10):
            with place.sandbox.at(datetime.now(UTC) - timedelta(minutes=minutes)):
                number = place.sandbox.create_ticket("Where is it?", "Hello")
                place.sandbox.assign(number, "ops@acme.example")
            found = [change for change in await look(place, cursors) if change.id == str(number)]
            assert {bool(change.event) for change in found} == ({False, True} if minutes < 30 else {False})


async def test_events_of_other_objects_are_none() -> None:
    """An event about a message leads to it, one about anything else is left out."""
    async with town() as place:
        number = place.sandbox.create_ticket("Where is it?", "Hello")
        cursors: dict[str, str] = {}
        await look(place, cursors)
        place.sandbox.log(Act(None), "ticket-message-deleted", "TicketMessage", 20_001)
        place.sandbox.log(Act(None), "ticket-deleted", "Rule", 5)
        place.sandbox.delete_ticket(number)
        found = [change for change in await look(place, cursors) if change.event]
    assert [(change.id, change.comment, change.deep) for change in found] == [
        ("", "20001", True),
        (str(number), None, True),
    ]


async def test_rows_that_move_between_pages_are_shown() -> None:
    """While the pages of a first load are read tickets change and jump to the front: none is missed for good."""
    async with town() as place:
        numbers = [place.sandbox.create_ticket(f"No. {number}", "Hello") for number in range(250)]
        shown: set[str] = set()
        cursors: dict[str, str] = {}
        for stream in place.connector.streams:
            async for page in place.connector.changes(stream, None):
                shown |= {change.id for change in page.changes}
                cursors[stream] = page.cursor
                for number in numbers[:30]:
                    place.sandbox.set_subject(number, f"Moved {len(shown)}")
        moved = {change.id for change in await look(place, cursors)}
    assert shown | moved == set(map(str, numbers))
    assert set(map(str, numbers[:30])) <= moved


async def test_a_change_that_is_dated_ahead_hides_no_other() -> None:
    """`updated_datetime` can be written: a ticket from the future does not keep the feed from showing today's."""
    async with town() as place:
        ahead, other = (place.sandbox.create_ticket(name, "Hello") for name in ("ahead", "other"))
        place.sandbox.update_ticket(ahead, {"updated_datetime": "2099-01-01T00:00:00+00:00"})
        cursors: dict[str, str] = {}
        await look(place, cursors)
        place.sandbox.set_subject(other, "Renamed")
        assert str(other) in {change.id for change in await look(place, cursors)}


# -- views --------------------------------------------------------------------------------------------------------


def view_of(place: Town, name: str) -> int:
    """The id of a system view."""
    return int(next(row["id"] for row in place.sandbox["views"] if row["name"] == name))


async def test_rows_of_views_say_nothing_about_custom_fields() -> None:
    """A view's rows have none, which does not read as if they were empty."""
    async with town(views=[43]) as place:
        assert view_of(place, "All") == 43
        field_of(place)
        place.sandbox.create_ticket("Where is it?", "Hello")
        (change,) = await look(place, {})
        assert change.row
        assert change.row.fields is None
        assert place.connector.streams == ("events", "view:43")


async def test_a_ticket_outside_the_views_is_hidden() -> None:
    """What no view shows is not copied; what one shows is, also before the feed of the view was read."""
    async with town(views=[44, 45]) as place:
        assert (view_of(place, "Snoozed"), view_of(place, "Closed")) == (44, 45)
        outside, inside = (place.sandbox.create_ticket(name, "Hello") for name in ("outside", "inside"))
        place.sandbox.set_status(inside, "closed")
        assert (await place.connector.get(str(outside))).hidden
        assert not (await place.connector.get(str(inside))).hidden
        place.asked.clear()
        assert not (await place.connector.get(str(inside))).hidden
        assert len(place.asked) == 1
        place.sandbox.set_status(outside, "closed")
        assert not (await place.connector.get(str(outside))).hidden


# -- the account --------------------------------------------------------------------------------------------------


async def test_check_says_what_is_wrong() -> None:
    """A wrong key, a role that only looks, and a view that is not there are each said, with what to do."""
    async with town(api_key="wrong") as place:
        (finding,) = await place.connector.check()
        assert not finding.ok
        assert "api_key" in finding.hint
    async with town(views=[43, 4711]) as place:
        place.sandbox.users[101]["role"] = {"name": "observer-agent"}
        wrong = {finding.what: finding.hint for finding in await place.connector.check() if not finding.ok}
        assert set(wrong) == {"role observer-agent", "view 4711"}
        assert all(wrong.values())


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "https://me:secret@acme.gorgias.com"},
        {"base_url": "https://acme.gorgias.com?key=secret"},
        {"base_url": "https://acme.gorgias.com", "subdomain": "acme"},
        {},
        {"subdomain": "acme.gorgias.com"},
        {"subdomain": "acme", "reply_from": "Support"},
    ],
)
def test_a_wrong_table_is_refused(wrong: dict[str, str]) -> None:
    """One address, without a user in it, which would be shown in errors; and a mail address that is one."""
    with pytest.raises(ValidationError) as raised:
        GorgiasConfig.model_validate({"email": "ops@acme.example", "api_key": "key", **wrong})
    assert "secret" not in str(raised.value)


def test_the_address_of_an_account() -> None:
    """The subdomain stands for it, and the reference's own way of writing it is understood."""
    for given in ({"subdomain": "acme"}, {"base_url": "https://acme.gorgias.com/api/"}):
        table = GorgiasConfig.model_validate({"email": "ops@acme.example", "api_key": "key", **given})
        assert table.url == "https://acme.gorgias.com"


async def test_credentials_are_sent_as_documented() -> None:
    """HTTP Basic: the user's e-mail and the key, also where they are not ASCII."""
    async with scripted(last=(200, {}, b'{"id": 1, "role": {"name": "admin"}}')) as server:
        table = config(server.url, api_key="schlüssel")
        async with GorgiasConnector.open(table, Side.GORGIAS, "contract") as connector:
            await connector.check()
    assert server.asked[0].headers["Authorization"] == aiohttp.encode_basic_auth("ops@acme.example", "schlüssel")
