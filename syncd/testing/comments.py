# ruff: noqa: S101 (a test asserts)
"""The contract of conversations: comments, their privacy and their files."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from syncd.connector import Upload
from syncd.errors import Gone, Refused
from syncd.model import Body, Comment
from syncd.testing.account import Account, Suite, plain, skipping

BODIES = {
    "plain": "Hello, where is my parcel?",
    "lines": "first\nsecond\n\nthird",
    "line ends": "first\r\nsecond",
    "emoji": "thanks 🙏 naïve",
    "markup": "<b>bold</b> & *stars* _lines_ `code` h1. # not a heading",
    "NUL": "nul\x00byte",
}
FILE_NAMES = ("invoice.pdf", "../../x", "📦 parcel.png", "n" * 196 + ".txt", 'a "quoted"; name.txt')


class CommentContract(Suite):
    """What holds for a conversation."""

    async def test_comments_keep_their_order(self, account: Account) -> None:
        """Comments read back in the order in which they were written, the opening one first."""
        ticket = await self.made(account)
        written = [(await account.connector.comment(ticket.id, self.remark(f"No. {n}"), [])).comment for n in range(4)]
        ids = [comment.id for comment in await self.conversation(account, ticket.id)]
        assert ids[-4:] == [comment.id for comment in written]
        assert len(set(ids)) == len(ids)

    @pytest.mark.parametrize("text", BODIES.values(), ids=BODIES)
    async def test_a_comments_text_comes_back(self, account: Account, text: str) -> None:
        """What people wrote is all there when it is read back, whatever markup the product has."""
        ticket = await self.made(account)
        written = (await account.connector.comment(ticket.id, self.remark(text), [])).comment
        stored = (await self.conversation(account, ticket.id))[-1]
        assert plain(text) in plain(stored.body.text)
        assert stored.body.text == written.body.text

    async def test_the_opening_comment_comes_back(self, account: Account) -> None:
        """What `create` takes along of the conversation is stored, once, with its marker."""
        if not account.connector.capabilities.comments_on_create:
            pytest.skip("create carries no comment here")
        opening = self.remark("Opening words of a customer", "source-opening")
        ticket = await self.made(account, comments=(opening,))
        stored = await self.conversation(account, ticket.id)
        assert len(stored) == 1
        assert plain(opening.body.text) in plain(stored[0].body.text)

    async def test_comments_name_their_author(self, account: Account) -> None:
        """People see who wrote a comment: as its author, or in a line above its text."""
        ticket = await self.made(account)
        written = (await account.connector.comment(ticket.id, self.remark("Who wrote this?"), [])).comment
        try:
            seen = await account.people.see(ticket.id, written.id)
        except NotImplementedError:  # then what the connector reads has to tell
            stored = (await self.conversation(account, ticket.id))[-1]
            seen = f"{stored.author} {stored.body.text}"
        assert "Carla Customer" in seen

    async def test_private_comments_never_come_back_public(self, account: Account) -> None:
        """A private comment stays private; a product that has none refuses it."""
        ticket = await self.made(account)
        before = await self.conversation(account, ticket.id)
        remark = self.remark("For colleagues only", private=True)
        if not account.connector.capabilities.private:
            with pytest.raises(Refused):
                await account.connector.comment(ticket.id, remark, [])
            assert await self.conversation(account, ticket.id) == before
            return
        written = await account.connector.comment(ticket.id, remark, [])
        assert written.comment.private
        assert (await self.conversation(account, ticket.id))[-1].private

    async def test_a_persons_comment_is_read(self, account: Account) -> None:
        """What somebody writes in the product is read with its text and privacy, and carries no marker of ours."""
        ticket = await self.made(account)
        comment_id = await skipping(account.people.say(ticket.id, "Written by a person"))
        stored = next(c for c in await self.conversation(account, ticket.id) if c.id == comment_id)
        assert plain(stored.body.text) == "Written by a person"
        assert not stored.private
        assert stored.marker is None

    async def test_a_comment_on_a_missing_ticket_is_gone(self, account: Account) -> None:
        """A comment for a ticket that was deleted raises Gone."""
        ticket = await self.made(account)
        await self.delete(account, ticket.id)
        with pytest.raises(Gone):
            await account.connector.comment(ticket.id, self.remark("too late"), [])

    async def test_an_edited_comment_comes_back(self, account: Account) -> None:
        """An edit replaces the body of that one comment, which keeps its id, place, privacy and marker."""
        if not account.connector.capabilities.edits:
            pytest.skip("comments cannot be edited here")
        ticket = await self.made(account)
        first = (await account.connector.comment(ticket.id, self.remark("first"), [])).comment
        second = (await account.connector.comment(ticket.id, self.remark("second"), [])).comment
        edited = await account.connector.edit_comment(ticket.id, replace(first, body=Body("first, corrected")))
        stored = await self.conversation(account, ticket.id)
        assert [comment.id for comment in stored[-2:]] == [first.id, second.id]
        assert "first, corrected" in edited.body.text
        assert stored[-2].body.text == edited.body.text
        assert (stored[-2].private, stored[-2].marker) == (first.private, first.marker)
        assert stored[-1] == second

    # -- attachments --------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("file_name", FILE_NAMES)
    async def test_files_come_back_byte_by_byte(self, account: Account, tmp_path: Path, file_name: str) -> None:
        """A file of a comment downloads as it was, whatever it is called, and its name leads nowhere."""
        stored = await self.upload(account, tmp_path, [(file_name, bytes(range(256)) * 300)])
        assert await self.digests(account, stored) == [hashlib.sha256(bytes(range(256)) * 300).hexdigest()]
        assert stored.attachments[0].file_name
        assert "/" not in stored.attachments[0].file_name

    async def test_the_same_bytes_twice_are_two_files(self, account: Account, tmp_path: Path) -> None:
        """Two files with one content, and an empty one beside them, are all kept."""
        files = [("one.txt", b"same"), ("two.txt", b"same"), ("other.txt", b"\x00")]
        stored = await self.upload(account, tmp_path, files)
        expected = sorted(hashlib.sha256(content).hexdigest() for _, content in files)
        assert sorted(await self.digests(account, stored)) == expected

    async def test_a_file_already_held_is_named_again(self, account: Account, tmp_path: Path) -> None:
        """A file that the account holds needs no second upload: another comment shows the same bytes."""
        if not account.connector.capabilities.reuses_uploads:
            pytest.skip("a file must be uploaded anew for each comment here")
        ticket = await self.made(account)
        upload = upload_of(tmp_path / "upload", "invoice.txt", b"the same bytes")
        first = (await account.connector.comment(ticket.id, self.remark("first"), [upload])).comment
        again = replace(upload, held_at=first.attachments[0].url)
        second = (await account.connector.comment(ticket.id, self.remark("second"), [again])).comment
        assert await self.digests(account, second) == [upload.sha256]

    async def upload(self, account: Account, folder: Path, files: list[tuple[str, bytes]]) -> Comment:
        """A comment with these files, as read back."""
        if not account.connector.capabilities.attachments:
            pytest.skip("the product has no attachments")
        ticket = await self.made(account)
        uploads = [upload_of(folder / f"upload-{number}", *file) for number, file in enumerate(files)]
        await account.connector.comment(ticket.id, self.remark("see the files"), uploads)
        return (await self.conversation(account, ticket.id))[-1]

    async def digests(self, account: Account, comment: Comment) -> list[str]:
        """The sha256 of each file of the comment, as downloaded."""
        digests = []
        for attachment in comment.attachments:
            digest = hashlib.sha256()
            async for chunk in account.connector.download(attachment):
                digest.update(chunk)
            digests.append(digest.hexdigest())
        return digests


def upload_of(path: Path, file_name: str, content: bytes) -> Upload:
    """A file on disk as the engine hands it over."""
    path.write_bytes(content)
    return Upload(path, file_name, "application/octet-stream", len(content), hashlib.sha256(content).hexdigest())
