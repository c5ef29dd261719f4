"""The Roundup connector holds the contract against a real Roundup, and makes our errors of broken answers."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import orjson
import pytest
import pytest_asyncio

from connectors.roundup import RoundupConnector
from connectors.roundup.config import RoundupConfig
from connectors.roundup.tracker import Tracker, explain
from syncd.connector import Changes, Connector
from syncd.demo.roundup_tracker import RoundupServer, roundup_server
from syncd.errors import AccountError, Gone, OutcomeUnknown, Refused, TryLater, VersionConflict
from syncd.http import Transport
from syncd.model import Body, Comment, Person, Side, Ticket, Value
from syncd.testing import Account, ConnectorContract, People, Wire, WireContract
from syncd.testing.wire import READS, WRITES

FIELDS = {"severity": "string", "points": "number", "billable": "boolean", "due": "date"}


@pytest_asyncio.fixture(scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RoundupServer]:
    """One tracker for all tests of this session: each makes its own issues."""
    async with roundup_server(tmp_path_factory.mktemp("roundup") / "tracker") as running:
        yield running


def config_of(server: RoundupServer, **options: object) -> RoundupConfig:
    """The configuration of an account of this tracker."""
    values = {"url": server.url, "user": server.user, "password": server.password, "fields": FIELDS}
    return RoundupConfig.model_validate({**values, **options})


@dataclass
class TrackerPeople(People):
    """Alice, by the REST API: her web pages write the same items in the same way."""

    tracker: Tracker

    async def create(self, subject: str, text: str) -> str:
        return await self.tracker.make("issue", {"title": subject, "messages": [await self._message(text)]})

    async def edit(self, ticket_id: str, name: str, value: str) -> None:
        issue = await self.tracker.item("issue", ticket_id)
        await self.tracker.patch("issue", issue, {{"subject": "title"}.get(name, name): value})

    async def say(self, ticket_id: str, text: str, *, private: bool = False) -> str:
        message = await self._message(text, private=private)
        issue = await self.tracker.item("issue", ticket_id)
        linked = [*(link["id"] for link in issue["messages"]), message]
        await self.tracker.patch("issue", issue, {"messages": linked})
        return message

    async def edit_comment(self, ticket_id: str, comment_id: str, text: str) -> None:
        await self.tracker.patch("msg", await self.tracker.item("msg", comment_id), {"content": text})

    async def delete_comment(self, ticket_id: str, comment_id: str) -> None:
        """Press "remove" beside the message."""
        issue = await self.tracker.item("issue", ticket_id)
        linked = [link["id"] for link in issue["messages"] if link["id"] != comment_id]
        await self.tracker.patch("issue", issue, {"messages": linked})

    async def wait(self, seconds: float) -> None:
        """The feed shows the last seconds before its cursor again, so a moment is enough."""
        await asyncio.sleep(min(seconds, 0.1))

    async def _message(self, text: str, *, private: bool = False) -> str:
        values = {"content": text, "author": "alice", "date": ".", "private": str(private)}
        return await self.tracker.make("msg", values)


class TestRoundup(ConnectorContract):
    """The connector of the demo's tracker."""

    patience = 2.0
    crowds: dict[str, list[str]] = {}  # noqa: RUF012 (one for each tracker)

    @pytest_asyncio.fixture(scope="class")
    @classmethod
    async def account(cls, server: RoundupServer) -> AsyncIterator[Account]:
        headers = {"X-Requested-With": "tests", "Origin": server.url.rstrip("/")}
        headers["Authorization"] = aiohttp.encode_basic_auth("alice", server.password)
        alice = Transport(server.url + "rest", "alice", headers=headers, explain=explain)
        async with alice, RoundupConnector.open(config_of(server), Side.REMOTE, "test") as connector:
            yield Account(connector, TrackerPeople(Tracker(alice, config_of(server, user="alice"))))

    async def crowd(self, account: Account) -> list[str]:
        url = account.connector.base  # type: ignore[attr-defined]
        if url not in self.crowds:
            tracker = account.people.tracker  # type: ignore[attr-defined]
            self.crowds[url] = [await tracker.make("issue", {"title": f"No. {n}"}) for n in range(self.beyond_a_page)]
        return self.crowds[url]

    # -- what is Roundup's own --------------------------------------------------------------------------------

    async def test_the_feed_shows_rows_as_they_are_now(self, account: Account) -> None:
        """A row of the feed carries the new values and the new number of comments, without another call."""
        ticket = await self.made(account)
        cursors: dict[str, str] = {}
        await self.appears(account, ticket.id, cursors)
        await account.people.edit(ticket.id, "subject", "Renamed")
        await account.people.say(ticket.id, "One more")
        row = (await self.appears(account, ticket.id, cursors)).row
        assert row is not None
        assert (row.subject, row.comment_count) == ("Renamed", 2)

    async def test_a_message_that_was_never_linked_is_linked(self, account: Account) -> None:
        """A comment whose second call never went out is finished by the next try, not made twice."""
        ticket, remark = await self.made(account), self.remark("Said once")
        tracker = account.connector.tracker  # type: ignore[attr-defined]
        orphan = await tracker.make("msg", {"content": "Said once", "external_id": remark.marker})
        for _ in range(2):
            assert (await account.connector.comment(ticket.id, remark, [])).comment.id == orphan
        stored = await self.conversation(account, ticket.id)
        assert [comment.marker for comment in stored].count(remark.marker) == 1

    async def test_comments_at_the_same_time_are_all_kept(self, account: Account) -> None:
        """Writers that link messages to one issue at the same time do not unlink each other's."""
        ticket = await self.made(account)
        remarks = [self.remark(f"No. {number}") for number in range(3)]
        await asyncio.gather(*(account.connector.comment(ticket.id, remark, []) for remark in remarks))
        markers = {comment.marker for comment in await self.conversation(account, ticket.id)}
        assert {remark.marker for remark in remarks} <= markers

    async def test_a_comment_does_not_reopen_an_issue(self, account: Account) -> None:
        """A resolved issue stays resolved when our comment arrives, whatever the tracker's rules are for people."""
        ticket = await self.made(account, status="resolved")
        await account.connector.comment(ticket.id, self.remark("Thank you"), [])
        assert (await account.connector.get(ticket.id)).status == "resolved"
        await account.people.say(ticket.id, "It is broken again")
        assert (await account.connector.get(ticket.id)).status == "chatting"

    async def test_an_agent_stays_the_author(self, account: Account) -> None:
        """An agent with an account here is the author; a customer who only claims such an address is not."""
        ticket = await self.made(account)
        remark = self.remark("Shipped today")
        for kind, name in (("user", "Alice Agent"), ("contact", "Mallory")):
            author = Person("9", name, "Alice@demo.example", kind)  # type: ignore[arg-type]
            draft = replace(remark, author=author, marker=self.marker())
            stored = (await account.connector.comment(ticket.id, draft, [])).comment
            assert stored.body.text == "Shipped today"
            assert stored.author is not None
            assert (stored.author.name, stored.author.kind) == (name, kind)

    async def test_a_persons_words_are_never_taken_for_a_signature(self, account: Account) -> None:
        """What looks like our line in a message that a person wrote stays in it."""
        ticket = await self.made(account)
        text = "Ann Lee · 2026-11-25 10:00 UTC · gorgias:4711\n\nlook at this"
        comment_id = await account.people.say(ticket.id, text)
        assert [c.body.text for c in await self.conversation(account, ticket.id) if c.id == comment_id] == [text]

    async def test_files_without_a_message_are_read(self, account: Account) -> None:
        """A file that hangs on the issue alone belongs to the message of its form, or is a comment of its own."""
        ticket = await self.made(account)
        connector, people = account.connector, account.people
        comment_id = await people.say(ticket.id, "with a file")
        file_id = await people.tracker.make("file", {"name": "a.txt", "content": "x"})  # type: ignore[attr-defined]
        foreign = await connector.tracker.make("file", {"name": "b.txt", "content": "x"})  # type: ignore[attr-defined]
        issue = await people.tracker.item("issue", ticket.id)  # type: ignore[attr-defined]
        await people.tracker.patch("issue", issue, {"files": [file_id, foreign]})  # type: ignore[attr-defined]
        shown = {comment.id: comment.attachments for comment in await self.conversation(account, ticket.id)}
        assert [file.file_name for file in shown[comment_id]] == ["a.txt"]
        assert [file.file_name for files in shown.values() for file in files].count("b.txt") == 1

    async def test_an_empty_file_is_kept(self, account: Account, tmp_path: Path) -> None:
        """A file of no bytes, which Roundup's own form refuses, comes back."""
        stored = await self.upload(account, tmp_path, [("empty.txt", b"")])
        assert await self.digests(account, stored) == [hashlib.sha256(b"").hexdigest()]

    @pytest.mark.parametrize("tag", ["12", "a,b", "-x", "+y", "été", "x/y"])
    async def test_odd_tags_are_tags(self, account: Account, tag: str) -> None:
        """A tag of digits is no id, and a comma or a sign in one is no list and no operator."""
        ticket = await self.made(account, tags=frozenset({tag}))
        assert ticket.tags == {tag}
        ticket = await account.connector.update(ticket, Changes(add_tags=frozenset({"vip"}), remove_tags={tag}))  # type: ignore[arg-type]
        assert ticket.tags == {"vip"}

    async def test_a_new_tag_is_made_once(self, account: Account, server: RoundupServer) -> None:
        """Two syncs that need the same new tag at the same time share it."""
        fresh = frozenset({f"tag {self.marker()}"})
        async with RoundupConnector.open(config_of(server), Side.REMOTE, "test") as other:
            drafts = [
                connector.create(Ticket("1", "x", tags=fresh), self.marker(), {})
                for connector in (account.connector, other)
                for _ in range(2)
            ]
            made = await asyncio.gather(*drafts)
        assert {ticket.tags for ticket in made} == {fresh}

    @pytest.mark.parametrize(
        ("name", "values"),
        [
            ("severity", ["S1", "  padded ", "12", "", None]),
            ("points", [5, 2.5, 0, "7", None]),
            ("billable", [True, False, "yes", None]),
            ("due", ["2026-11-30", None]),
        ],
    )
    async def test_fields_come_back_canonical(self, account: Account, name: str, values: list[Value]) -> None:
        """Each type of property reads back as `canonical` foretold, and can be emptied."""
        ticket = await self.made(account)
        for value in values:
            ticket = await account.connector.update(ticket, Changes({f"field:{name}": value}))
            assert ticket.fields is not None
            assert ticket.fields[name] == account.connector.canonical(f"field:{name}", value)
        assert ticket.fields == dict.fromkeys(FIELDS)

    async def test_a_value_that_does_not_fit_is_refused(self, account: Account) -> None:
        """A number that is none, and an assignee who does not exist, are Refused: nothing of the call is written."""
        ticket = await self.made(account)
        for fields in ({"field:points": "many", "subject": "x"}, {"assignee": "9999", "subject": "x"}):
            with pytest.raises(Refused):
                await account.connector.update(ticket, Changes(fields))
        assert (await account.connector.get(ticket.id)).subject == ticket.subject

    async def test_a_field_that_moved_is_a_conflict(self, account: Account) -> None:
        """A field that somebody else changed since it was read is not written over."""
        ticket = await self.made(account)
        await account.people.edit(ticket.id, "subject", "Renamed by a person")
        with pytest.raises(VersionConflict):
            await account.connector.update(ticket, Changes({"subject": "Renamed by us"}))

    async def test_a_retired_issue_takes_no_writes(self, account: Account) -> None:
        """A retired issue is Gone to a write too, although it can still be read by its id."""
        ticket = await self.made(account)
        await account.connector.delete(ticket.id)
        with pytest.raises(Gone):
            await account.connector.update(ticket, Changes({"subject": "too late"}))

    async def test_private_comments_are_refused_without_their_property(
        self, account: Account, server: RoundupServer
    ) -> None:
        """A tracker without private messages is never given one, neither by a comment nor by a create."""
        ticket = await self.made(account)
        secret = self.remark("For colleagues only", private=True)
        config = config_of(server, private_property="")
        async with RoundupConnector.open(config, Side.REMOTE, "test") as connector:
            assert not connector.capabilities.private
            with pytest.raises(Refused):
                await connector.comment(ticket.id, secret, [])
            with pytest.raises(Refused):
                await connector.create(replace(ticket, comments=(secret,)), self.marker(), {})

    async def test_the_demo_tracker_is_fit(self, account: Account) -> None:
        """Nothing is wrong with the demo's tracker: its API, our account, the properties, the rights, the zone."""
        assert [finding for finding in await account.connector.check() if not finding.ok] == []

    @pytest.mark.parametrize(
        ("options", "what"),
        [
            ({"marker_property": "nope"}, "the property nope of msg"),
            ({"fields": {"nope": "string"}}, "the property nope of issue"),
            ({"user": "nobody"}, "REST API"),
            ({"origin": "https://elsewhere.example"}, "REST API"),
        ],
    )
    async def test_check_names_what_is_wrong(
        self, server: RoundupServer, options: dict[str, object], what: str
    ) -> None:
        """A missing property, a wrong account or a wrong address is found, with what to do."""
        async with RoundupConnector.open(config_of(server, **options), Side.REMOTE, "test") as connector:
            wrong = [finding for finding in await connector.check() if not finding.ok]
        assert any(what in finding.what and finding.hint for finding in wrong)


class TestTracker:
    """The tracker of the demo."""

    async def test_people_can_open_it(self, server: RoundupServer) -> None:
        """Its pages are there for a browser, and an agent can log in."""
        form = {"@action": "login", "__login_name": "alice", "__login_password": server.password}
        headers = {"Referer": server.url, "Origin": server.url.rstrip("/")}
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            async with session.post(server.url, data=form, headers=headers) as response:
                assert response.status == 200
            async with session.get(server.url + "issue?@template=index") as response:
                assert "alice" in await response.text()

    async def test_private_messages_are_for_the_team(self, server: RoundupServer) -> None:
        """A visitor without an account reads the public message of an issue and not the private one."""
        async with RoundupConnector.open(config_of(server), Side.REMOTE, "test") as connector:
            comments = (Comment("1", Body("for everybody")), Comment("2", Body("for colleagues"), private=True))
            ticket = await connector.create(Ticket("1", "Two messages", comments=comments), "syncd:t:gorgias:1", {})
        page = f"{server.url}issue{ticket.id}"
        async with aiohttp.ClientSession() as session, session.get(page) as response:
            seen = await response.text()
        assert "for everybody" in seen
        assert "for colleagues" not in seen
        auth = {"Authorization": aiohttp.encode_basic_auth("alice", server.password)}
        async with aiohttp.ClientSession(headers=auth) as session, session.get(page) as response:
            seen = await response.text()
        assert "for colleagues" in seen
        assert seen.count("internal note") == 1


class TestRoundupWire(WireContract):
    """What the connector makes of broken answers."""

    read_timeout = 0.5

    def connect(self, url: str) -> AbstractAsyncContextManager[Connector]:
        options = {"url": url, "user": "syncd", "password": "wire-secret", "timeout": self.read_timeout}
        return RoundupConnector.open(RoundupConfig.model_validate(options), Side.REMOTE, "wire")

    @pytest.mark.parametrize(("method", "kind"), [("get", TryLater), ("create", OutcomeUnknown)])
    async def test_a_crash_is_tried_later(self, wire: Wire, method: str, kind: type[AccountError]) -> None:
        """An exception inside Roundup, which answers 400, is not taken for a value that it refuses."""
        message = "Wed Nov 25 10:00:00 2026: An error occurred. Please check the server log for more information."
        wire.answer(400, orjson.dumps({"error": {"status": 400, "msg": message}}))
        call = next(call for call in READS + WRITES if call.name == method)
        assert type(await self.failure(wire, call)) is kind

    async def test_a_page_that_is_missing_is_no_missing_issue(self, wire: Wire) -> None:
        """A tracker whose REST API was switched off answers 404 with a page: no issue is gone for that."""
        wire.answer(404, b"<html>Not found: rest/data/issue</html>", {"Content-Type": "text/html"})
        error = await self.failure(wire, READS[0])
        assert not isinstance(error, Gone)
        assert "enable_rest" in error.hint

    @pytest.mark.parametrize(
        ("message", "kind"), [("user has no node 99", Refused), ("Requested item is retired", Gone)]
    )
    async def test_409_is_no_conflict_here(self, wire: Wire, message: str, kind: type[AccountError]) -> None:
        """Roundup answers 409 to a value that does not fit."""
        wire.answer(409, orjson.dumps({"error": {"status": 409, "msg": message}}))
        assert type(await self.failure(wire, WRITES[0])) is kind
