# ruff: noqa: S101 (a test asserts)
"""The contract of change feeds: everything is shown, and nothing is lost."""

from contextlib import aclosing

import pytest

from syncd.connector import Changes, Connector, Page
from syncd.testing.account import Account, Suite, skipping


class FeedContract(Suite):
    """What holds for the feeds."""

    async def test_a_new_ticket_appears_in_the_feed(self, account: Account) -> None:
        """What we make is shown, and with its marker where the feed carries the ticket itself."""
        cursors: dict[str, str] = {}
        await self.look(account.connector, cursors)
        marker = self.marker()
        ticket = await self.made(account, marker)
        change = await self.appears(account, ticket.id, cursors)
        assert change.row is None or change.row.marker == marker

    async def test_a_persons_ticket_appears_in_the_feed(self, account: Account) -> None:
        """What somebody opens in the product is shown and can be read."""
        cursors: dict[str, str] = {}
        await self.look(account.connector, cursors)
        ticket_id = await skipping(account.people.create("Opened by a person", "Where is my parcel?"))
        await self.appears(account, ticket_id, cursors)
        ticket = await account.connector.get(ticket_id)
        assert (ticket.subject, ticket.marker) == ("Opened by a person", None)
        assert any("Where is my parcel?" in comment.body.text for comment in ticket.comments or ())

    @pytest.mark.parametrize(
        "kind", ["subject", "status", "comment", "private comment", "comment-edit", "comment-delete"]
    )
    async def test_every_kind_of_change_appears_in_the_feed(self, account: Account, kind: str) -> None:
        """Whatever a person does to a ticket is shown, unless `capabilities.invisible` says that it is not."""
        if kind in account.connector.capabilities.invisible:
            pytest.skip(f"{kind} is declared invisible: the sweep finds it")
        ticket = await self.made(account)
        comment_id = await skipping(account.people.say(ticket.id, "Written by a person"))
        cursors: dict[str, str] = {}
        await account.people.wait(account.connector.capabilities.resolution)
        await self.appears(account, ticket.id, cursors)
        await self.look(account.connector, cursors)
        await account.people.wait(account.connector.capabilities.resolution)
        await skipping(self.act(account, kind, ticket.id, comment_id))
        await self.appears(account, ticket.id, cursors)

    async def act(self, account: Account, kind: str, ticket_id: str, comment_id: str) -> None:
        """Let a person do one thing."""
        if kind == "subject":
            await account.people.edit(ticket_id, "subject", "Renamed by a person")
        elif kind == "status":
            status = (await account.connector.vocabulary()).statuses[-1].name
            await account.people.edit(ticket_id, "status", status)
        elif kind == "comment-edit":
            await account.people.edit_comment(ticket_id, comment_id, "Corrected by a person")
        elif kind == "comment-delete":
            await account.people.delete_comment(ticket_id, comment_id)
        else:
            await account.people.say(ticket_id, "One more", private=kind == "private comment")

    async def test_our_own_writes_appear_in_the_feed(self, account: Account) -> None:
        """An update and a comment of ours are shown: people may share our account, so nothing is filtered by author."""
        ticket = await self.made(account)
        cursors: dict[str, str] = {}
        await self.appears(account, ticket.id, cursors)
        await self.look(account.connector, cursors)
        await account.people.wait(account.connector.capabilities.resolution)
        await account.connector.update(ticket, Changes({"subject": "Renamed by us"}))
        await self.appears(account, ticket.id, cursors)

    async def test_nothing_is_lost_across_pages(self, account: Account) -> None:
        """A first load shows every ticket although rows move from page to page while it runs."""
        ids = await self.crowd(account)
        shown: set[str] = set()
        cursors: dict[str, str] = {}
        moves = 4  # of two rows each: more would keep the feed alive for ever
        for stream in account.connector.streams:
            async for page in account.connector.changes(stream, None):
                shown.update(change.id for change in page.changes)
                cursors[stream] = page.cursor
                for ticket_id in (ids[0], ids[-1]) if moves > 0 else ():
                    await skipping(account.people.edit(ticket_id, "subject", f"Moved {moves}"))
                moves -= 1
        for ticket_id in set(ids) - shown:
            await self.appears(account, ticket_id, dict(cursors))

    async def crowd(self, account: Account) -> list[str]:
        """More tickets than a page shows, all of them older than what happens next."""
        ids = [(await self.made(account, subject=f"No. {n}")).id for n in range(self.beyond_a_page)]
        await account.people.wait(account.connector.capabilities.resolution)
        return ids

    async def test_a_page_can_be_the_last_one_read(self, account: Account) -> None:
        """A reader that dies after some pages and goes on from the last cursor misses nothing."""
        ids = await self.crowd(account)
        shown: set[str] = set()
        cursors: dict[str, str] = {}
        for stream in account.connector.streams:
            for _ in range(3):
                page = await first_page(account.connector, stream, cursors.get(stream))
                if page is not None:
                    shown.update(change.id for change in page.changes)
                    cursors[stream] = page.cursor
        shown.update(change.id for change in await self.look(account.connector, cursors))
        assert set(ids) <= shown

    async def test_an_old_cursor_still_works(self, account: Account) -> None:
        """Reading again from an earlier cursor shows everything since then once more."""
        cursors: dict[str, str] = {}
        await self.appears(account, (await self.made(account)).id, cursors)
        old = dict(cursors)
        await account.people.wait(account.connector.capabilities.resolution)
        tickets = [await self.made(account) for _ in range(3)]
        for ticket in tickets:
            await self.appears(account, ticket.id, dict(old))
        await self.look(account.connector, cursors)
        again = {change.id for change in await self.look(account.connector, dict(old))}
        assert {ticket.id for ticket in tickets} <= again

    async def test_a_quiet_feed_comes_to_an_end(self, account: Account) -> None:
        """Read twice with nothing happening between, a feed ends and its cursor stands still."""
        cursors: dict[str, str] = {}
        await self.appears(account, (await self.made(account)).id, cursors)
        await self.look(account.connector, cursors)
        first = dict(cursors)
        await self.look(account.connector, cursors)
        assert cursors == first


async def first_page(connector: Connector, stream: str, cursor: str | None) -> Page | None:
    """One page of a feed, whose reader then goes away."""
    async with aclosing(connector.changes(stream, cursor)) as pages:  # type: ignore[type-var]
        async for page in pages:
            return page
    return None
