# ruff: noqa: S101 (a test asserts)
"""The contract of tickets: fields, tags, markers, reading, deleting."""

import asyncio

import pytest

from syncd.connector import Changes
from syncd.errors import Gone, Refused, VersionConflict
from syncd.testing.account import Account, Suite, fields_of, skipping

SUBJECTS = {
    "empty": "",
    "300 characters": "x" * 300,
    "words up to 300 characters": "word " * 60,
    "emoji": "Parcel 📦 lost 👩‍👧 naïve",
    "markup": "<b>bold</b> & *stars* _lines_ [link](http://a.example) #1 @me",
    "padding": "  padded  ",
    "line ends": "first\r\nsecond",
    "NUL": "nul\x00byte",
}


class TicketContract(Suite):
    """What holds for a ticket and its fields."""

    # -- writing and reading back -------------------------------------------------------------------------------

    @pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)
    async def test_a_created_subject_comes_back_canonical(self, account: Account, subject: str) -> None:
        """A new ticket reads back with the subject that `canonical` foretold."""
        ticket = await self.made(account, subject=subject)
        expected = account.connector.canonical("subject", subject)
        assert ticket.subject == expected
        assert (await account.connector.get(ticket.id)).subject == expected

    @pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)
    async def test_an_updated_subject_comes_back_canonical(self, account: Account, subject: str) -> None:
        """An update returns the subject that `canonical` foretold, and so does the next read."""
        ticket = await self.made(account)
        written = await account.connector.update(ticket, Changes({"subject": subject}))
        expected = account.connector.canonical("subject", subject)
        assert written.subject == expected
        assert (await account.connector.get(ticket.id)).subject == expected

    async def test_each_status_comes_back_canonical(self, account: Account) -> None:
        """Every status of the vocabulary can be written and reads back as `canonical` foretold."""
        ticket = await self.made(account)
        for status in (await account.connector.vocabulary()).statuses:
            ticket = await account.connector.update(ticket, Changes({"status": status.name}))
            assert ticket.status == account.connector.canonical("status", status.name)
            assert (await account.connector.get(ticket.id)).status == ticket.status

    async def test_each_priority_comes_back_canonical(self, account: Account) -> None:
        """Every priority of the vocabulary can be written and reads back as `canonical` foretold."""
        ticket = await self.made(account)
        for priority in (await account.connector.vocabulary()).priorities:
            ticket = await account.connector.update(ticket, Changes({"priority": priority}))
            assert ticket.priority == account.connector.canonical("priority", priority)

    async def test_an_assignee_comes_and_goes(self, account: Account) -> None:
        """An active user can be assigned, and the ticket can be nobody's again."""
        users = [user for user in (await account.connector.vocabulary()).users if user.active]
        if not users:
            pytest.skip("the account has no users to assign")
        ticket = await self.made(account)
        ticket = await account.connector.update(ticket, Changes({"assignee": users[0].id}))
        assert ticket.assignee == users[0].id
        assert (await account.connector.update(ticket, Changes({"assignee": None}))).assignee is None

    async def test_a_new_ticket_takes_its_fields_along(self, account: Account) -> None:
        """A create call writes status and priority, except for those that `create_ignores` names."""
        words = await account.connector.vocabulary()
        wanted = {"status": words.statuses[-1].name, "priority": words.priorities[-1] if words.priorities else None}
        ticket = await self.made(account, **wanted)
        for name in set(wanted) - account.connector.capabilities.create_ignores:
            assert getattr(ticket, name) == account.connector.canonical(name, wanted[name]) or wanted[name] is None

    async def test_canonical_is_a_fixpoint(self, account: Account) -> None:
        """What was read back is written unchanged: `canonical` of its own result is that result."""
        words = await account.connector.vocabulary()
        canonical = account.connector.canonical
        samples = [("subject", text) for text in SUBJECTS.values()]
        samples += [("status", status.name) for status in words.statuses]
        samples += [(f"field:{known.name}", text) for known in words.fields for text in SUBJECTS.values()]
        for name, value in samples:
            assert canonical(name, canonical(name, value)) == canonical(name, value)

    async def test_canonical_is_a_fixpoint_for_any_text(self, account: Account) -> None:
        """No text at all makes `canonical` or `canonical_tag` waver."""
        hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed")

        def wavers_not(text: str) -> None:
            once = account.connector.canonical("subject", text)
            assert account.connector.canonical("subject", once) == once
            tag = account.connector.canonical_tag(text)
            assert account.connector.canonical_tag(tag) == tag

        calm = hypothesis.settings(max_examples=200, deadline=None, database=None, derandomize=True)
        calm(hypothesis.given(hypothesis.strategies.text(max_size=400))(wavers_not))()

    async def test_a_write_returns_what_the_next_read_shows(self, account: Account) -> None:
        """`create` and `update` return the ticket as read back, never as asked for."""
        created = await self.made(account, subject="  padded  ")
        assert fields_of(created) == fields_of(await account.connector.get(created.id))
        updated = await account.connector.update(created, Changes({"subject": "y" * 300}))
        assert fields_of(updated) == fields_of(await account.connector.get(created.id))

    async def test_an_update_leaves_other_fields_alone(self, account: Account) -> None:
        """Writing one field keeps what a person wrote to another one meanwhile."""
        ticket = await self.made(account)
        await skipping(account.people.edit(ticket.id, "subject", "Renamed by a person"))
        status = (await account.connector.vocabulary()).statuses[-1].name
        written = await account.connector.update(ticket, Changes({"status": status}))
        assert written.subject == "Renamed by a person"

    async def test_an_unknown_field_is_refused(self, account: Account) -> None:
        """A custom field that does not exist is Refused, and the ticket stays readable and unchanged."""
        ticket = await self.made(account)
        with pytest.raises(Refused):
            await account.connector.update(ticket, Changes({"field:No Such Field": "x"}))
        assert fields_of(await account.connector.get(ticket.id)) == fields_of(ticket)

    async def test_an_unknown_status_is_refused(self, account: Account) -> None:
        """A status that does not exist is Refused, and the ticket stays readable and unchanged."""
        ticket = await self.made(account)
        with pytest.raises(Refused):
            await account.connector.update(ticket, Changes({"status": "no such status"}))
        assert (await account.connector.get(ticket.id)).status == ticket.status

    # -- tags ---------------------------------------------------------------------------------------------------

    async def test_tags_are_added_and_removed_one_by_one(self, account: Account) -> None:
        """Tags change element by element, even when the ticket at hand is an old reading."""
        connector = account.connector
        if not connector.capabilities.tags:
            pytest.skip("the product has no tags")
        old = await self.made(account)
        await connector.update(old, Changes(add_tags=frozenset({"urgent", "VIP"})))
        ticket = await connector.update(old, Changes(add_tags=frozenset({"late parcel"})))
        assert ticket.tags == set(map(connector.canonical_tag, ("urgent", "VIP", "late parcel")))
        ticket = await connector.update(ticket, Changes(remove_tags=frozenset({connector.canonical_tag("VIP")})))
        assert ticket.tags == set(map(connector.canonical_tag, ("urgent", "late parcel")))

    async def test_tags_are_idempotent(self, account: Account) -> None:
        """Adding a tag that is there, or removing one that is not, is fine and changes nothing."""
        if not account.connector.capabilities.tags:
            pytest.skip("the product has no tags")
        ticket = await self.made(account)
        for _ in range(2):
            ticket = await account.connector.update(
                ticket, Changes(add_tags=frozenset({"urgent"}), remove_tags=frozenset({"absent"}))
            )
        assert ticket.tags == {account.connector.canonical_tag("urgent")}

    # -- reading ------------------------------------------------------------------------------------------------

    async def test_reading_changes_nothing(self, account: Account) -> None:
        """No read moves `updated_at` or anything else of a ticket."""
        marker = self.marker()
        ticket = await self.made(account, marker)
        before = await account.connector.get(ticket.id)
        await account.connector.get_many([ticket.id])
        await self.found(account, marker)
        await self.look(account.connector, {})
        assert await account.connector.get(ticket.id) == before

    async def test_times_are_aware(self, account: Account) -> None:
        """Every stamp carries its zone, so that two accounts can be compared."""
        ticket = await account.connector.get((await self.made(account)).id)
        assert ticket.updated_at is not None
        assert ticket.updated_at.tzinfo is not None
        assert all(comment.created_at is None or comment.created_at.tzinfo for comment in ticket.comments or ())

    async def test_a_missing_ticket_is_gone(self, account: Account) -> None:
        """A ticket that was deleted is Gone to `get` and unlisted by `get_many`, which lists the others."""
        doomed, other = await self.made(account), await self.made(account)
        await self.delete(account, doomed.id)
        with pytest.raises(Gone):
            await account.connector.get(doomed.id)
        assert set(await account.connector.get_many([doomed.id, other.id])) == {other.id}

    async def test_many_are_read_at_once(self, account: Account) -> None:
        """`get_many` lists each ticket under its own id, with the fields that `get` shows."""
        tickets = [await self.made(account, subject=f"Parcel {number}") for number in range(3)]
        many = await account.connector.get_many([ticket.id for ticket in tickets])
        assert {ticket_id: ticket.subject for ticket_id, ticket in many.items()} == {
            ticket.id: ticket.subject for ticket in tickets
        }

    async def test_none_are_read_at_once(self, account: Account) -> None:
        """`get_many` of nothing is nothing, not everything."""
        await self.made(account)
        assert not await account.connector.get_many([])

    # -- markers ------------------------------------------------------------------------------------------------

    async def test_find_recognises_exactly_what_was_made(self, account: Account) -> None:
        """`find` returns the ticket that carries the marker, and none for a prefix, a longer one or another case."""
        marker = self.marker()
        ticket = await self.made(account, marker)
        assert await self.found(account, marker) == [ticket.id]
        for other in (marker[:-1], marker + "0", marker.upper(), self.marker()):
            assert await self.found(account, other) == []

    async def test_find_lists_the_oldest_first(self, account: Account) -> None:
        """Two tickets with one marker, as after a lost answer, are both found in order of age."""
        marker = self.marker()
        try:
            made = [await self.made(account, marker) for _ in range(2)]
        except (VersionConflict, Refused):
            pytest.skip("the product itself keeps a marker unique")
        assert await self.found(account, marker) == [ticket.id for ticket in made]

    async def test_markers_with_odd_ids_are_found(self, account: Account) -> None:
        """A marker whose id holds colons, quotes and wildcards finds its own ticket only."""
        marker = f"{self.marker()}:a'b\"c%d_e*f"
        ticket = await self.made(account, marker)
        assert await self.found(account, marker) == [ticket.id]
        assert await self.found(account, marker.replace("_", "x").replace("%", "y")) == []

    async def test_a_ticket_reads_back_with_its_marker(self, account: Account) -> None:
        """The marker of a ticket that we made is there when it is read."""
        marker = self.marker()
        ticket = await self.made(account, marker)
        assert (await account.connector.get(ticket.id)).marker == marker

    async def test_comments_read_back_with_their_markers(self, account: Account) -> None:
        """The marker of a comment that we made is there when the ticket is read."""
        ticket = await self.made(account)
        remark = self.remark("with a marker")
        written = await account.connector.comment(ticket.id, remark, [])
        stored = next(c for c in await self.conversation(account, ticket.id) if c.id == written.comment.id)
        assert written.comment.marker == stored.marker == remark.marker

    async def test_delete_is_idempotent(self, account: Account) -> None:
        """Deleting a ticket twice is fine."""
        if not account.connector.capabilities.delete:
            pytest.skip("tickets cannot be deleted here")
        ticket = await self.made(account)
        await account.connector.delete(ticket.id)
        await account.connector.delete(ticket.id)

    async def test_cancellation_leaves_the_session_usable(self, account: Account) -> None:
        """A call that is cancelled in the middle does not spoil the next ones."""
        ticket = await self.made(account)
        for rounds in range(4):
            call = asyncio.ensure_future(account.connector.get(ticket.id))
            for _ in range(rounds):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        assert (await account.connector.get(ticket.id)).id == ticket.id

    async def test_a_forged_hook_hints_nothing(self, account: Account) -> None:
        """A call that anybody could have made names no ticket."""
        ticket = await self.made(account)
        for body in (b"", b"{}", b"[]", b"\xff", f'{{"ticket": "{ticket.id}", "id": "{ticket.id}"}}'.encode()):
            assert not list(account.connector.hinted({"X-Signature": "forged"}, body) or ())

    async def test_the_account_checks_itself(self, account: Account) -> None:
        """`check` looks at something, and says what to do about whatever is not fine."""
        findings = await account.connector.check()
        assert findings
        assert all(finding.ok or finding.hint for finding in findings)

    async def test_tickets_have_names(self, account: Account) -> None:
        """`label` names a ticket so that a person can find it."""
        ticket = await self.made(account)
        assert ticket.id in account.connector.label(ticket.id)
