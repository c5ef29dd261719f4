"""What Redmine drops, ignores or gives away without saying so, and what the connector makes of it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from pydantic import ValidationError

from connectors.redmine import RedmineConnector
from syncd.connector import Changes, Upload
from syncd.errors import AccountError, Forbidden, Gone, Refused, TooLarge, TryLater, Unauthorized
from syncd.model import Attachment, Body, Comment, Person, Ticket
from tests.fakes.redmine_people import Shop, config, served
from tests.fakes.redmine_words import BOB, CAROL, STATUSES

MARKER = "syncd:contract:gorgias:4711"
#: Without an administrator's key, and before there is an issue, fields are known by their numbers only.
BY_NUMBER = {"marker_field": "1", "tags_field": "6"}
CUSTOMER = Person("9", "Carla Customer", "carla@customer.example")


@pytest_asyncio.fixture
async def shop() -> AsyncIterator[Shop]:
    """A fresh fake server."""
    async with served() as shop:
        yield shop


def remark(text: str = "Where is it?", number: int = 1, **options: Any) -> Comment:
    """A comment of the other side."""
    return Comment(f"c{number}", Body(text), **{"author": CUSTOMER, "marker": MARKER + f"-{number}", **options})


def file_of(path: Path, content: bytes = b"content", name: str = "invoice.pdf") -> Upload:
    """A file on disk."""
    path.write_bytes(content)
    return Upload(path, name, "application/pdf", len(content), "0" * 64)


async def made(connector: RedmineConnector, **fields: Any) -> Ticket:
    """An issue of ours."""
    return await connector.create(Ticket("1", **{"subject": "A parcel is lost", **fields}), MARKER, {})


# -- who we are -------------------------------------------------------------------------------------------------


async def test_a_bad_key_is_not_taken_for_an_empty_project(shop: Shop) -> None:
    """Redmine reads with a bad key as anonymous; no read of ours believes that."""
    async with shop.connect() as connector:
        ticket = await made(connector)
    async with shop.connect("no-such-key") as stranger:
        for read in (stranger.get(ticket.id), stranger.get_many([ticket.id]), stranger.find(MARKER)):
            with pytest.raises(Unauthorized):
                await read
        with pytest.raises(Unauthorized):
            _ = [page async for page in stranger.changes("issues", None)]


async def test_a_key_that_is_withdrawn_hides_no_private_notes(shop: Shop) -> None:
    """An answer to nobody lacks private notes: it is Unauthorized, and so is a 404."""
    async with shop.connect() as connector:
        ticket = await made(connector)
        await connector.comment(ticket.id, remark(private=True), [])
        shop.redmine.keys.clear()
        for ticket_id in (ticket.id, "999"):
            with pytest.raises(Unauthorized):
                await connector.get(ticket_id)


async def test_a_list_is_believed_with_a_fresh_proof(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is withdrawn between two polls is noticed by the next list, once the last proof is old."""
    async with shop.connect() as connector:
        ticket = await made(connector)
        shop.redmine.keys.clear()
        monkeypatch.setattr("connectors.redmine.client.PROVEN_FOR", 0)
        with pytest.raises(Unauthorized):
            await connector.get_many([ticket.id])
        with pytest.raises(Unauthorized):
            _ = [page async for page in connector.changes("issues", None)]


async def test_what_is_out_of_reach_is_not_gone(shop: Shop) -> None:
    """An issue that was moved into a private project is Forbidden; one that was deleted is Gone."""
    async with shop.connect(BOB, **BY_NUMBER) as bob, shop.connect() as connector:
        ticket = await made(connector)
        shop.redmine.issues[int(ticket.id)]["project_id"] = 2
        with pytest.raises(Forbidden):
            await bob.get(ticket.id)
        with pytest.raises(Gone):
            await bob.get("999")


# -- privacy ----------------------------------------------------------------------------------------------------


async def test_a_private_note_is_not_sent_by_who_cannot_hide_it(shop: Shop) -> None:
    """Redmine stores it as public when the role lacks the right: it is refused before it is sent."""
    async with shop.connect() as connector, shop.connect(CAROL, **BY_NUMBER) as carol:
        ticket = await made(connector)
        shop.calls()
        with pytest.raises(Refused, match="Set notes as private"):
            await carol.comment(ticket.id, remark(private=True), [])
        assert not [call for call in shop.calls() if call.startswith("PUT")]


@pytest.mark.parametrize("can_edit", [True, False])
async def test_a_private_note_that_became_public_is_taken_back(shop: Shop, can_edit: bool) -> None:
    """When the right is lost after it was looked up, the note is emptied again, or a person is asked to."""
    async with shop.connect(BOB, **BY_NUMBER) as bob:
        ticket = await made(bob)
        shop.redmine.permissions[4] -= {"set_notes_private"}
        shop.redmine.permissions[4] |= {"edit_issue_notes"} if can_edit else set()
        with pytest.raises(Refused, match="removed again" if can_edit else "by hand"):
            await bob.comment(ticket.id, remark("for colleagues", private=True), [])
        notes = [note["notes"] for note in shop.redmine.issues[int(ticket.id)]["journals"]]
        assert any("for colleagues" in (note or "") for note in notes) != can_edit


async def test_a_private_opening_is_never_a_description(shop: Shop) -> None:
    """Everybody reads a description: a private first comment is left to be added as a note."""
    async with shop.connect() as connector:
        ticket = await made(connector, comments=(remark("for colleagues", private=True),))
        assert ticket.comments == ()
        assert (await connector.get(ticket.id)).comments == ()


async def test_a_private_note_with_files_is_one_comment(shop: Shop, tmp_path: Path) -> None:
    """Redmine makes two journals of it, a public one with the file; we read one private comment."""
    async with shop.connect() as connector:
        ticket = await made(connector)
        written = await connector.comment(ticket.id, remark(private=True), [file_of(tmp_path / "f")])
        assert written.ticket is not None
        assert written.ticket.comments == (written.comment,)
        assert (written.comment.private, len(written.comment.attachments)) == (True, 1)
        assert len(shop.redmine.issues[int(ticket.id)]["journals"]) == 2


async def test_files_of_private_notes_can_stay_behind(shop: Shop, tmp_path: Path) -> None:
    """Redmine shows a file to everybody who sees the issue: with `private_files` off, a note only names it."""
    async with shop.connect(private_files=False) as connector:
        ticket = await made(connector)
        files = (Attachment("1", "invoice.pdf", url="https://acme.example/1"),)
        note = remark(private=True, attachments=files)
        written = await connector.comment(ticket.id, note, [file_of(tmp_path / "f")])
        assert written.comment.attachments == ()
        assert written.comment.body.text == "Where is it?\n[invoice.pdf: not copied https://acme.example/1]"


async def test_an_edit_can_hide_a_note_but_no_description(shop: Shop) -> None:
    """Privacy is tightened along with the text; a description cannot be private."""
    async with shop.connect() as connector:
        ticket = await made(connector, comments=(remark("opening"),))
        note = (await connector.comment(ticket.id, remark("note", 2), [])).comment
        edited = await connector.edit_comment(ticket.id, replace(note, private=True, body=Body("hidden")))
        assert (edited.private, edited.body.text, edited.marker) == (True, "hidden", note.marker)
        opening = (await connector.get(ticket.id)).comments[0]  # type: ignore[index]
        with pytest.raises(Refused):
            await connector.edit_comment(ticket.id, replace(opening, private=True))


# -- markers ----------------------------------------------------------------------------------------------------


async def test_somebody_elses_line_of_attribution_counts_for_nothing(shop: Shop) -> None:
    """A person who copies the line keeps it in the text, and makes no marker with it."""
    async with shop.connect() as connector:
        ticket = await made(connector)
        line = "Carla Customer · 2026-11-25 10:00 UTC · gorgias:4711"
        await shop.people(BOB).say(ticket.id, f"{line}\n\nforged")
        comment = (await connector.get(ticket.id)).comments[-1]  # type: ignore[index]
        assert (comment.marker, comment.body.text) == (None, f"{line}\n\nforged")
        assert comment.author == Person("6", "Bob Builder", "bob@example.net", "user")


async def test_the_line_of_attribution_survives_an_edit(shop: Shop) -> None:
    """An edit keeps the line of our own notes and of the description, and an empty text empties no note."""
    async with shop.connect() as connector:
        ticket = await made(connector, comments=(remark("opening", created_at=None),))
        opening = ticket.comments[0]  # type: ignore[index]
        assert (opening.author, opening.marker) == (replace(CUSTOMER, id=""), MARKER + "-1")
        edited = await connector.edit_comment(ticket.id, replace(opening, body=Body("corrected")))
        assert (edited.body.text, edited.marker) == ("corrected", opening.marker)
        assert "Carla Customer" in shop.redmine.issues[int(ticket.id)]["description"]
        native = await shop.people().say(ticket.id, "by a person")
        with pytest.raises(Refused, match="emptied"):
            await connector.edit_comment(ticket.id, Comment(native, Body("")))
        with pytest.raises(Gone):
            await connector.edit_comment(ticket.id, Comment("999", Body("x")))


async def test_a_field_that_is_no_filter_finds_nothing_by_mistake(shop: Shop) -> None:
    """Redmine ignores such a filter and lists every issue: that is refused with what to do, in the check too."""
    async with shop.connect() as connector:
        await made(connector)
        shop.redmine.filterable.clear()
        with pytest.raises(Refused, match="Used as a filter"):
            await connector.find("syncd:contract:gorgias:other")
        assert "tick 'Used as a filter'" in " ".join(finding.hint for finding in await connector.check())


# -- writes that are dropped ------------------------------------------------------------------------------------


async def test_a_dropped_value_is_seen_in_the_answer(shop: Shop) -> None:
    """A 204 that kept the old value returns the old value, and so does a status at creation."""
    async with shop.connect() as connector:
        ticket = await made(connector, status="Closed")
        assert ticket.status == "New"
        shop.redmine.dropped.add("status_id")
        assert (await connector.update(ticket, Changes({"status": "Closed"}))).status == "New"


async def test_what_changes_nothing_is_not_sent(shop: Shop) -> None:
    """A PUT without a difference would bump `updated_on` and echo for ever."""
    async with shop.connect() as connector:
        ticket = await made(connector, tags=frozenset({"vip"}), fields={"Billable": False, "Points": 7})
        shop.calls()
        same = Changes({"subject": ticket.subject, "assignee": None, "field:Billable": False, "field:Points": 7.0})
        again = await connector.update(ticket, replace(same, add_tags=frozenset({"vip"})))
        assert not [call for call in shop.calls() if call.startswith("PUT")]
        assert again.updated_at == ticket.updated_at


async def test_a_note_that_is_not_kept_is_refused(shop: Shop) -> None:
    """Redmine answers 204 to a note of somebody who may not add any, and to one of blanks."""
    async with shop.connect(BOB, **BY_NUMBER) as bob:
        ticket = await made(bob)
        with pytest.raises(Refused, match="empty note"):
            await bob.comment(ticket.id, remark(" ", marker=None), [])
        shop.redmine.permissions[4] -= {"add_issue_notes"}
        with pytest.raises(Refused, match="did not keep"):
            await bob.comment(ticket.id, remark(), [])


async def test_files_are_counted_and_measured(shop: Shop, tmp_path: Path) -> None:
    """A file that is too large for us is not sent, one too large for Redmine is TooLarge, a lost one Refused."""
    async with shop.connect(max_attachment="6MiB") as connector:
        ticket = await made(connector)
        for size, sent in ((5120 * 1024 + 1, 1), (6 * 1024 * 1024 + 1, 0)):
            shop.calls()
            with pytest.raises(TooLarge):
                await connector.comment(ticket.id, remark(), [file_of(tmp_path / str(size), b"x" * size)])
            assert shop.calls() == ({"POST /uploads.json": 1} if sent else {})
        shop.redmine.dropped.add("uploads")
        with pytest.raises(Refused, match="left out"):
            await connector.comment(ticket.id, remark(), [file_of(tmp_path / "lost")])
        with pytest.raises(Gone):
            _ = [chunk async for chunk in connector.download(Attachment("999", "x"))]


async def test_a_new_issue_takes_files_along(shop: Shop, tmp_path: Path) -> None:
    """The files of the opening comment belong to the description, those of a private one stay here."""
    async with shop.connect() as connector:
        upload = {"c1": [file_of(tmp_path / "f", name="../é ?.pdf")]}
        ticket = await connector.create(Ticket("1", "with a file", comments=(remark(""),)), MARKER, upload)
        (opening,) = ticket.comments or ()
        assert (opening.id, opening.body.text, [file.size for file in opening.attachments]) == ("description", "", [7])
        assert opening.attachments[0].url == f"{shop.url}/attachments/download/1/%C3%A9%20_.pdf"
        assert ticket == await connector.get(ticket.id)


async def test_where_we_may_not_create_is_said_plainly(shop: Shop) -> None:
    """Redmine answers 422 as to a wrong value; our role tells that it is a right that is missing."""
    async with shop.connect(CAROL, **BY_NUMBER) as carol:
        shop.redmine.permissions[5] -= {"add_issues"}
        with pytest.raises(Forbidden, match="add issues"):
            await made(carol)
    async with shop.connect() as connector:
        with pytest.raises(Refused):
            await made(connector, assignee="999")


async def test_subtasks_are_not_deleted_along(shop: Shop) -> None:
    """Redmine deletes subtasks with their parent: that is refused."""
    async with shop.connect() as connector:
        parent, child = await made(connector), await made(connector)
        shop.redmine.issues[int(child.id)]["parent"] = int(parent.id)
        with pytest.raises(Refused, match="subtasks"):
            await connector.delete(parent.id)


# -- values -----------------------------------------------------------------------------------------------------


async def test_custom_fields_speak_in_words(shop: Shop) -> None:
    """Truth values and labels go both ways by name; fields with several values stay out."""
    async with shop.connect(contact_field="Customer") as connector:
        ticket = await made(connector, fields={"Channel": "web", "Billable": True, "Points": 8}, contact=CUSTOMER)
        assert ticket.fields == {"Severity": None, "Points": "8", "Billable": True, "Channel": "web"}
        assert (ticket.contact, shop.redmine.issues[1]["custom"][11]) == (
            Person(CUSTOMER.email or "", "", CUSTOMER.email),
            "2",
        )
        with pytest.raises(Refused, match="mail, web"):
            await connector.update(ticket, Changes({"field:Channel": "fax"}))
        for name, value in {"field:Channel": "fax", "field:Billable": "yes", "field:Points": 8.0}.items():
            assert connector.canonical(name, value) == {"fax": "fax", "yes": True, 8.0: "8"}[value]


async def test_tags_live_in_a_text_or_in_a_list(shop: Shop) -> None:
    """A comma is no part of a tag in a text; a list takes only what an administrator put in."""
    async with shop.connect() as connector:
        ticket = await made(connector)
        shop.redmine.issues[int(ticket.id)]["custom"][6] = "by a person,  VIP "
        ticket = await connector.update(ticket, Changes(add_tags=frozenset({"a,b"}), remove_tags=frozenset({"VIP"})))
        assert ticket.tags == {"by a person", "a b"}
    async with shop.connect(tags_field="Labels") as connector:
        ticket = await connector.update(ticket, Changes(add_tags=frozenset({"a,b", "vip"})))
        assert ticket.tags == {"a,b", "vip"} == set(map(connector.canonical_tag, ticket.tags))
        with pytest.raises(Refused):
            await connector.update(ticket, Changes(add_tags=frozenset({"unheard of"})))


@pytest.mark.parametrize(("field", "team"), [("category", "Software"), ("Severity", "S2")])
async def test_teams_are_categories_or_a_field(shop: Shop, field: str, team: str) -> None:
    """A team is written and read by its name, and can be cleared."""
    async with shop.connect(team_field=field) as connector:
        assert team in {known.name for known in (await connector.vocabulary()).teams}
        ticket = await made(connector, team=team)
        assert ticket.team == team
        assert (await connector.update(ticket, Changes({"team": None}))).team is None
        with pytest.raises(Refused):
            await connector.update(ticket, Changes({"team": "no such team"}))


async def test_each_field_has_its_own_time(shop: Shop) -> None:
    """The journals say when a field changed last; a note or another field does not touch it."""
    async with shop.connect() as connector:
        ticket = await made(connector)
        shop.move(60)
        await connector.update(ticket, Changes({"status": "Closed", "field:Points": 3}))
        shop.move(60)
        await shop.people().say(ticket.id, "later")
        read = await connector.get(ticket.id)
        ages = {name: round((read.updated_at - at).total_seconds(), -1) for name, at in read.times.items()}  # type: ignore[operator]
        assert (ages["status"], ages["field:Points"], ages["subject"], ages["field:Billable"]) == (60, 60, 120, 120)


# -- the feed ---------------------------------------------------------------------------------------------------


async def test_a_crowd_in_one_second_is_read_to_the_end(shop: Shop) -> None:
    """More issues than a page in one second are paged by offset, also while some of them move away."""
    async with shop.connect() as connector:
        at = (await made(connector)).updated_at
        first = shop.redmine.issues[1]
        for number in range(2, 351):
            shop.redmine.issues[number] = {**first, "id": number, "updated_on": at}
        pages = 0

        async def somebody_works(_request: web.Request) -> None:
            nonlocal pages
            pages += 1
            for number in {3: (3, 4, 5), 5: (6, 7)}.get(pages, ()):
                shop.redmine.issues[number]["updated_on"] = shop.redmine.now()

        shop.redmine.after = somebody_works
        shown = [change.id async for page in connector.changes("issues", None) for change in page.changes]
        assert set(shown) == {str(number) for number in range(1, 351)}
        assert len(shown) <= 350 + 5


async def test_a_quiet_poll_is_one_call(shop: Shop) -> None:
    """What was settled is not read again: no rows but those of the newest second."""
    async with shop.connect() as connector:
        for _ in range(3):
            await made(connector)
            shop.move(4)
        shop.move(60)
        cursor: str | None = None
        for expected in (3, 1, 1):
            shop.calls()
            pages = [page async for page in connector.changes("issues", cursor)]
            assert sum(len(page.changes) for page in pages) == expected
            assert shop.calls() == {"GET /issues.json": 1}
            cursor = pages[-1].cursor


async def test_only_the_tracker_that_was_asked_for(shop: Shop) -> None:
    """`only_tracker` leaves out the issues of other trackers."""
    async with shop.connect(tracker="Bug") as bugs, shop.connect(only_tracker=True) as connector:
        await made(bugs)
        ticket = await made(connector)
        shown = [change.id async for page in connector.changes("issues", None) for change in page.changes]
        assert shown == [ticket.id]


async def test_hundreds_are_read_a_hundred_a_call(shop: Shop) -> None:
    """Redmine answers 500 to more than 250 ids."""
    async with shop.connect() as connector:
        ticket = await made(connector)
        shop.calls()
        assert set(await connector.get_many([ticket.id, "x", *map(str, range(5000, 5299))])) == {ticket.id}
        assert shop.calls() == {"GET /issues.json": 3}


async def test_what_a_call_costs(shop: Shop, tmp_path: Path) -> None:
    """The number of calls of each operation, as the documentation states it."""
    async with shop.connect() as connector:
        await connector.vocabulary()
        costs = {}
        shop.calls()
        ticket = await made(connector, comments=(remark(),))
        costs["create"] = sum(shop.calls().values())
        await connector.update(ticket, Changes({"subject": "Found"}))
        costs["update"] = sum(shop.calls().values())
        await connector.update(ticket, Changes(add_tags=frozenset({"vip"})))
        costs["update tags"] = sum(shop.calls().values())
        await connector.comment(ticket.id, remark("note", 2), [file_of(tmp_path / "f")])
        costs["comment with a file"] = sum(shop.calls().values())
        await connector.get(ticket.id)
        costs["get"] = sum(shop.calls().values())
        await connector.find(MARKER)
        costs["find"] = sum(shop.calls().values())
        assert costs == {"create": 1, "update": 2, "update tags": 3, "comment with a file": 3, "get": 1, "find": 1}


# -- other people's names ---------------------------------------------------------------------------------------


async def test_a_note_can_keep_its_author(shop: Shop) -> None:
    """With `impersonate`, a note is its author's where that user may write it, and ours where not."""
    bob, carol = Person("8", "Bob", "Bob@example.net"), Person("9", "Carol", "carol@example.net")
    async with shop.connect(impersonate=True) as connector:
        ticket = await made(connector)
        cases = [(bob, False, 6), (bob, True, 6), (carol, False, 7), (carol, True, 1), (CUSTOMER, False, 1)]
        for number, (author, private, expected) in enumerate(cases):
            note = remark("note", number, author=author, private=private)
            written = (await connector.comment(ticket.id, note, [])).comment
            assert (written.marker, written.private) == (note.marker, private)
            assert shop.redmine.issues[int(ticket.id)]["journals"][-1]["user"] == expected


async def test_a_locked_user_does_not_hold_up_a_note(shop: Shop) -> None:
    """A user who cannot be impersonated any more (412) leaves the note in our own name."""
    async with shop.connect(impersonate=True) as connector:
        ticket = await made(connector)
        shop.redmine.locked.add("bob")
        note = remark(author=Person("8", "Bob", "bob@example.net"))
        assert (await connector.comment(ticket.id, note, [])).comment.marker == note.marker
        assert shop.redmine.issues[int(ticket.id)]["journals"][-1]["user"] == 1


# -- set-up -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"tracker": "Task"}, "Bug, Feature, Support"),
        ({"marker_field": "Extern"}, "External ID, Severity"),
        ({"project": "other"}, "identifier"),
    ],
)
async def test_a_name_that_does_not_exist_lists_those_that_do(shop: Shop, options: Any, expected: str) -> None:
    """A wrong name in the configuration is answered with the right ones, by every call and by the check."""
    async with shop.connect(**options) as connector:
        with pytest.raises(AccountError, match=expected):
            await connector.get("1")
        assert not all(finding.ok for finding in await connector.check())


async def test_an_empty_project_shows_no_names(shop: Shop) -> None:
    """Without an administrator's key and without an issue, fields have no names: their numbers do."""
    async with shop.connect(BOB) as bob:
        with pytest.raises(TryLater, match="number"):
            await bob.get("1")
    async with shop.connect(BOB, **BY_NUMBER) as bob:
        assert (await made(bob, tags=frozenset({"vip"}))).tags == {"vip"}


async def test_the_check_names_every_missing_right(shop: Shop) -> None:
    """Everything is fine for an administrator; a reporter is told what the role lacks; a bad key is one finding."""
    async with shop.connect() as connector, shop.connect(CAROL, impersonate=True, **BY_NUMBER) as carol:
        assert all(finding.ok for finding in await connector.check())
        await made(connector)
        hints = " ".join(finding.hint for finding in await carol.check())
        assert all(right in hints for right in ("Edit issues", "Set notes as private", "administrator"))
    async with shop.connect("no-such-key") as stranger:
        (finding,) = await stranger.check()
        assert "key" in finding.hint


async def test_the_vocabulary_is_the_projects(shop: Shop) -> None:
    """Statuses with what counts as closed, priorities in order, members with addresses, fields with their options."""
    async with shop.connect() as connector:
        words = await connector.vocabulary()
        assert [status.name for status in words.statuses] == list(STATUSES.values())
        assert [status.name for status in words.statuses if status.closed] == ["Closed", "Rejected"]
        assert (words.priorities[0], words.priorities[-1], words.own_user) == ("Low", "Immediate", "1")
        assert {user.email for user in words.users} >= {"bob@example.net"}
        fields = {field.name: (field.type, field.options) for field in words.fields}
        assert fields["Channel"] == ("enum", ("mail", "web"))
        assert not {"External ID", "Tags", "Labels"} & set(fields)


@pytest.mark.parametrize("url", ["redmine.example.com", "ftp://x", "https://x/?y=1", "https://u:p@x"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """The URL is that of Redmine itself, without anything that belongs elsewhere."""
    with pytest.raises(ValidationError):
        config(url)
