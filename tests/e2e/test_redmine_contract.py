"""The Redmine connector holds the contract against a real Redmine 5, and its traps are where we believe they are.

Uses the server at SYNCD_REDMINE_URL with SYNCD_REDMINE_KEY (an administrator's), or starts one of its own with
`tests/servers/redmine-up.sh`, which needs Debian's packages; without either, it is skipped.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from connectors.redmine import RedmineConnector
from connectors.redmine.config import RedmineConfig
from syncd.connector import Changes, Upload
from syncd.errors import Gone, Refused, Unauthorized
from syncd.model import Body, Comment, Person, Side, Ticket, values
from syncd.testing import Account, ConnectorContract
from tests.e2e.servers import redmine
from tests.fakes.redmine_people import RedminePeople


@dataclass
class Server:
    """A real Redmine, as `redmine-up.sh` describes it."""

    url: str
    key: str
    keys: dict[str, str]

    def connect(self, login: str = "admin", **options: Any) -> AbstractAsyncContextManager[RedmineConnector]:
        key = self.key if login == "admin" else self.keys.get(login)
        if key is None:
            pytest.skip(f"this server's key of {login} is not known")
        config = RedmineConfig(url=self.url, api_key=key, project="support", tracker="Support", **options)
        return RedmineConnector.open(config, Side.REMOTE, "contract")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A Redmine: the one that is named in the environment, or one that is started for the tests."""
    if "SYNCD_REDMINE_URL" in os.environ:
        yield Server(os.environ["SYNCD_REDMINE_URL"], os.environ["SYNCD_REDMINE_KEY"], {})
        return
    with redmine() as started:
        keys = {user["login"]: user["api_key"] for user in started.seeded["users"]}
        yield Server(started.url, started.key, keys)


class TestRedmine(ConnectorContract):
    """A project of a Redmine, with an administrator's key."""

    @pytest_asyncio.fixture
    async def account(self, server: Server) -> AsyncIterator[Account]:
        async with server.connect() as connector:
            yield Account(connector, RedminePeople(server.url, server.key))


def remark(text: str, number: int = 1, **options: Any) -> Comment:
    """A comment of the other side."""
    marker = f"syncd:contract:gorgias:{number}"
    author = Person("9", "Carla Customer", "carla@customer.example")
    return Comment(str(number), Body(text), **{"author": author, "marker": marker, **options})


async def made(connector: RedmineConnector, **fields: Any) -> Ticket:
    """An issue of ours."""
    return await connector.create(Ticket("1", **{"subject": "A trap", **fields}), "syncd:contract:gorgias:trap", {})


async def test_a_bad_key_is_unauthorized(server: Server) -> None:
    """The real server reads with a bad key as anonymous; we do not believe it."""
    async with server.connect() as connector:
        ticket = await made(connector)
    stranger = Server(server.url, "no-such-key", {})
    async with stranger.connect() as connector:
        for ticket_id in (ticket.id, "999999"):
            with pytest.raises(Unauthorized):
                await connector.get(ticket_id)


async def test_a_manager_needs_no_administrator(server: Server) -> None:
    """With a manager's key an issue is made, changed, commented in private and found."""
    async with server.connect() as connector:
        await made(connector)
    async with server.connect("alice") as alice:
        marker = "syncd:contract:gorgias:by-alice"
        ticket = await alice.create(Ticket("1", "by alice", fields={"Points": 3}), marker, {})
        ticket = await alice.update(ticket, Changes({"status": "Closed"}, add_tags=frozenset({"vip"})))
        assert (ticket.status, ticket.tags, (ticket.fields or {})["Points"]) == ("Closed", {"vip"}, "3")
        assert (await alice.comment(ticket.id, remark("x", private=True), [])).comment.private
        assert [found.id for found in await alice.find(marker)] == [ticket.id]
        assert all(finding.ok for finding in await alice.check())
        await alice.delete(ticket.id)


async def test_a_reporters_private_note_is_not_sent(server: Server) -> None:
    """A reporter may not hide a note, and the check says so."""
    async with server.connect() as connector:
        ticket = await made(connector)
        async with server.connect("carol") as carol:
            with pytest.raises(Refused, match="Set notes as private"):
                await carol.comment(ticket.id, remark("x", private=True), [])
            assert not all(finding.ok for finding in await carol.check())
        assert (await connector.get(ticket.id)).comments == ()


async def test_a_private_note_with_a_file_is_one_comment(server: Server, tmp_path: Path) -> None:
    """Two journals at the server, one private comment with its file here; downloads by its number."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    async with server.connect() as connector:
        ticket = await made(connector, comments=(remark("h1. Opening\n\nsecond line", 2),))
        upload = Upload(path, "é ?.txt", "text/plain", 7, "")
        written = await connector.comment(ticket.id, remark("x", private=True), [upload])
        read = (await connector.get(ticket.id)).comments or ()
        assert [comment.id for comment in read] == ["description", written.comment.id]
        assert read[0] == (ticket.comments or ())[0]
        assert (read[1].private, len(read[1].attachments)) == (True, 1)
        assert b"".join([chunk async for chunk in connector.download(read[1].attachments[0])]) == b"content"


async def test_labels_truths_and_lists_speak_in_words(server: Server) -> None:
    """Enumerations by name, truth values, a list for tags, a team by its category."""
    async with server.connect(tags_field="Labels") as connector:
        fields = {"Channel": "web", "Billable": True, "Severity": "S2", "Hours": 1.5}
        ticket = await made(connector, fields=fields, team="Network", tags=frozenset({"a,b", "été"}))
        assert {name: (ticket.fields or {})[name] for name in fields} == {**fields, "Hours": "1.5"}
        assert (ticket.team, ticket.tags) == ("Network", {"a,b", "été"})
        changes = {"field:Billable": False, "team": None, "field:Severity": None}
        ticket = await connector.update(ticket, Changes(changes))
        assert values(ticket).items() >= changes.items()
        with pytest.raises(Refused):
            await connector.update(ticket, Changes(add_tags=frozenset({"unheard of"})))


async def test_a_note_can_keep_its_author(server: Server) -> None:
    """A note in the name of a member is that member's, with our marker; a customer's is ours."""
    async with server.connect(impersonate=True) as connector:
        ticket = await made(connector)
        bob = Person("8", "Bob", "bob@example.net")
        await connector.comment(ticket.id, remark("by bob", 1, author=bob, private=True), [])
        await connector.comment(ticket.id, remark("by carla", 2), [])
        people = RedminePeople(server.url, server.key)
        journals = (await people.call("GET", f"/issues/{ticket.id}.json?include=journals"))["issue"]["journals"]
        assert [journal["user"]["name"] for journal in journals] == ["Bob Builder", "Redmine Admin"]
        assert [comment.marker for comment in (await connector.get(ticket.id)).comments or ()] == [
            "syncd:contract:gorgias:1",
            "syncd:contract:gorgias:2",
        ]


async def test_subtasks_hold_up_a_delete(server: Server) -> None:
    """The real server deletes subtasks along with their parent; we refuse until they are gone."""
    async with server.connect() as connector:
        parent, child = await made(connector), await made(connector)
        people = RedminePeople(server.url, server.key)
        await people.call("PUT", f"/issues/{child.id}.json", issue={"parent_issue_id": int(parent.id)})
        with pytest.raises(Refused, match="subtasks"):
            await connector.delete(parent.id)
        await connector.delete(child.id)
        await connector.delete(parent.id)
        with pytest.raises(Gone):
            await connector.get(parent.id)
