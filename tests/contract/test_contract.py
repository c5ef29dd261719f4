"""The contract is worth inheriting: each way in which a connector can go wrong makes one of its tests fail."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from connectors.desk import Desk
from connectors.memory import MemoryConnector
from syncd.connector import Change, Changes, Page, Upload, Written
from syncd.errors import Gone
from syncd.model import Body, Comment, Side, Ticket
from syncd.testing import Account, ConnectorContract
from tests.contract.test_memory import Clock, DeskPeople


class KeepsPadding(MemoryConnector):
    def canonical(self, name: str, value: Any) -> Any:
        return value


class NoFixpoint(MemoryConnector):
    def canonical(self, name: str, value: Any) -> Any:
        return f"{value}!" if name == "subject" else value


class Echo(MemoryConnector):
    async def update(self, ticket: Ticket, changes: Changes) -> Ticket:
        await super().update(ticket, changes)
        return replace(ticket, **changes.fields)


class MarksAsRead(MemoryConnector):
    async def get(self, ticket_id: str) -> Ticket:
        self.desk.tag(ticket_id, f"read {self.desk.calls['get']}")
        return await super().get(ticket_id)


class EmptyForMissing(MemoryConnector):
    async def get(self, ticket_id: str) -> Ticket:
        try:
            return await super().get(ticket_id)
        except Gone:
            return Ticket(ticket_id, comments=())


class FindsPrefixes(MemoryConnector):
    async def find(self, marker: str) -> Sequence[Ticket]:
        return [ticket for ticket in self.desk.tickets.values() if (ticket.marker or "").startswith(marker)]


class FindsAnyCase(MemoryConnector):
    async def find(self, marker: str) -> Sequence[Ticket]:
        return [ticket for ticket in self.desk.tickets.values() if (ticket.marker or "").lower() == marker.lower()]


class DropsCommentMarkers(MemoryConnector):
    async def comment(self, ticket_id: str, comment: Comment, uploads: Sequence[Upload]) -> Written:
        return await super().comment(ticket_id, replace(comment, marker=None), uploads)


class Publishes(MemoryConnector):
    async def comment(self, ticket_id: str, comment: Comment, uploads: Sequence[Upload]) -> Written:
        return await super().comment(ticket_id, replace(comment, private=False), uploads)


class Anonymous(MemoryConnector):
    async def comment(self, ticket_id: str, comment: Comment, uploads: Sequence[Upload]) -> Written:
        return await super().comment(ticket_id, replace(comment, author=None), uploads)


class StripsMarkup(MemoryConnector):
    async def comment(self, ticket_id: str, comment: Comment, uploads: Sequence[Upload]) -> Written:
        return await super().comment(
            ticket_id, replace(comment, body=Body(comment.body.text.replace("*", ""))), uploads
        )


class NewestFirst(MemoryConnector):
    async def get(self, ticket_id: str) -> Ticket:
        ticket = await super().get(ticket_id)
        return replace(ticket, comments=(ticket.comments or ())[::-1])


class ReplacesTags(MemoryConnector):
    async def update(self, ticket: Ticket, changes: Changes) -> Ticket:
        others = self.desk.read(ticket.id).tags - ticket.tags
        return await super().update(ticket, replace(changes, remove_tags=changes.remove_tags | others))


class OneFileForEqualBytes(MemoryConnector):
    async def comment(self, ticket_id: str, comment: Comment, uploads: Sequence[Upload]) -> Written:
        return await super().comment(ticket_id, comment, list({upload.sha256: upload for upload in uploads}.values()))


class IgnoresUnknownFields(MemoryConnector):
    async def update(self, ticket: Ticket, changes: Changes) -> Ticket:
        known = {name: value for name, value in changes.fields.items() if name != "field:No Such Field"}
        return await super().update(ticket, replace(changes, fields=known))


class HidesOwnWrites(MemoryConnector):
    async def changes(self, stream: str, cursor: str | None) -> AsyncIterator[Page]:
        async for page in super().changes(stream, cursor):
            made = [change for change in page.changes if not self.desk.tickets[change.id].marker]
            yield replace(page, changes=tuple(made))


class PagesByNumber(MemoryConnector):
    async def changes(self, stream: str, cursor: str | None) -> AsyncIterator[Page]:
        start = int(cursor or 0)
        while rows := sorted(self.desk.tickets.values(), key=lambda ticket: str(ticket.updated_at))[start:][:7]:
            found = [Change(row.id, row.updated_at) for row in rows]
            start += len(rows)
            yield Page(tuple(found), str(start))


class CursorRunsAhead(MemoryConnector):
    async def changes(self, stream: str, cursor: str | None) -> AsyncIterator[Page]:
        async for page in super().changes(stream, cursor):
            yield replace(page, cursor=f"{self.desk.clock().isoformat()} 0")


class SkipsTheLastSecond(MemoryConnector):
    async def changes(self, stream: str, cursor: str | None) -> AsyncIterator[Page]:
        async for page in super().changes(stream, cursor):
            fresh = [
                change for change in page.changes if str(change.updated_at) > (cursor or "").replace("T", " ")[:25]
            ]
            yield replace(page, changes=tuple(fresh))


class ListsEverything(MemoryConnector):
    async def get_many(self, ids: Sequence[str]) -> Mapping[str, Ticket]:
        return await super().get_many(ids or list(self.desk.tickets))


class DeletesOnce(MemoryConnector):
    async def delete(self, ticket_id: str) -> None:
        self.desk.read(ticket_id)
        await super().delete(ticket_id)


class TrustsAnybody(MemoryConnector):
    def hinted(self, headers: Mapping[str, str], body: bytes) -> list[str]:
        return ["1"]


FAULTS: list[tuple[type[MemoryConnector], str, dict[str, Any]]] = [
    (KeepsPadding, "a_created_subject_comes_back_canonical", {"subject": "  padded  "}),
    (NoFixpoint, "canonical_is_a_fixpoint", {}),
    (NoFixpoint, "canonical_is_a_fixpoint_for_any_text", {}),
    (Echo, "a_write_returns_what_the_next_read_shows", {}),
    (Echo, "an_update_leaves_other_fields_alone", {}),
    (MarksAsRead, "reading_changes_nothing", {}),
    (EmptyForMissing, "a_missing_ticket_is_gone", {}),
    (FindsPrefixes, "find_recognises_exactly_what_was_made", {}),
    (FindsAnyCase, "find_recognises_exactly_what_was_made", {}),
    (DropsCommentMarkers, "comments_read_back_with_their_markers", {}),
    (Publishes, "private_comments_never_come_back_public", {}),
    (Anonymous, "comments_name_their_author", {}),
    (StripsMarkup, "a_comments_text_comes_back", {"text": "two *stars*"}),
    (NewestFirst, "comments_keep_their_order", {}),
    (ReplacesTags, "tags_are_added_and_removed_one_by_one", {}),
    (IgnoresUnknownFields, "an_unknown_field_is_refused", {}),
    (HidesOwnWrites, "our_own_writes_appear_in_the_feed", {}),
    (PagesByNumber, "nothing_is_lost_across_pages", {}),
    (CursorRunsAhead, "a_page_can_be_the_last_one_read", {}),
    (SkipsTheLastSecond, "a_page_can_be_the_last_one_read", {}),
    (ListsEverything, "none_are_read_at_once", {}),
    (DeletesOnce, "delete_is_idempotent", {}),
    (TrustsAnybody, "a_forged_hook_hints_nothing", {}),
    (OneFileForEqualBytes, "the_same_bytes_twice_are_two_files", {"tmp_path": None}),
]


@pytest.mark.parametrize(
    ("kind", "test", "arguments"), FAULTS, ids=[f"{kind.__name__}-{test}" for kind, test, _ in FAULTS]
)
async def test_the_contract_catches(
    kind: type[MemoryConnector], test: str, arguments: dict[str, Any], tmp_path: Any
) -> None:
    """A connector with this one fault fails the test that is about it, and the sound one passes."""
    if "tmp_path" in arguments:
        arguments = {"tmp_path": tmp_path}
    await hold(MemoryConnector, test, arguments)
    with pytest.raises((AssertionError, Gone, pytest.fail.Exception)):
        await hold(kind, test, arguments)


async def hold(kind: Callable[..., MemoryConnector], test: str, arguments: dict[str, Any]) -> None:
    """Hold a connector on a fresh desk to one test of the contract."""
    clock = Clock()
    desk = Desk("contract", now=clock, resolution=1.0, page_size=7)
    suite = ConnectorContract()
    suite.beyond_a_page = 25
    account = Account(kind(desk, Side.REMOTE, "test"), DeskPeople(desk, clock))
    await getattr(suite, f"test_{test}")(account, **arguments)
