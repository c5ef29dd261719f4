"""Files on their way: whatever their names and sizes say, they end nowhere but in the other account."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from connectors.memory import MemoryConnector
from syncd.connector import Upload, Written
from syncd.model import Attachment, Body, Comment, Ticket
from syncd.text import safe_file_name
from tests.faults.world import BOB, R, World

NAMES = (
    "../../etc/cron.d/x",
    "..\\..\\autoexec.bat",
    "C:\\Windows\\win.ini",
    "/etc/passwd",
    "nul\x00byte.txt",
    "invoice\u202efdp.exe",
    "x" * 300 + ".pdf",
    "..",
    "CON.txt",
    'quote".txt; filename="other.html',
    "line\r\nbreak: header.txt",
    "Rechnung 3 März 👍.pdf",
)


class Watched(MemoryConnector):
    """A connector that remembers the files that were handed to it, and where they lay."""

    uploads: ClassVar[list[tuple[Upload, bytes]]] = []

    def _see(self, uploads: Sequence[Upload]) -> None:
        self.uploads += [(upload, upload.path.read_bytes()) for upload in uploads]

    async def create(self, ticket: Ticket, marker: str, uploads: Mapping[str, Sequence[Upload]]) -> Ticket:
        """Make the ticket."""
        self._see([upload for some in uploads.values() for upload in some])
        return await super().create(ticket, marker, uploads)

    async def comment(self, ticket_id: str, comment: Comment, uploads: Sequence[Upload]) -> Written:
        """Add the comment."""
        self._see(uploads)
        return await super().comment(ticket_id, comment, uploads)


def attached(world: World, ticket: str, name: str, content: bytes, size: int | None) -> None:
    """Somebody attaches a file, and the product says this of its name and size."""
    file = Attachment(f"f{len(world.gorgias.files)}", name, "text/plain", size)
    world.gorgias.files[file.id] = content
    comment = Comment("", Body(f"file {file.id}"), BOB, attachments=(file,))
    world.gorgias.append(ticket, comment, by_person=True)


@pytest.mark.promise("P42")
async def test_a_files_name_leads_nowhere(sqlite_template: Path) -> None:
    """No part of a name becomes a path; the content is what it was, and nothing stays on our disk."""
    world = World(sqlite_template)
    world.connector, Watched.uploads = Watched, []
    gid = world.gorgias.add_ticket("Files", "text")
    for name in NAMES:
        attached(world, gid, name, name.encode(), None)
    await world.settle()
    assert sorted(content for _, content in Watched.uploads) == sorted(name.encode() for name in NAMES)
    for upload, content in Watched.uploads:
        assert upload.path.parent == world.folder
        assert upload.path.name.startswith("syncd-")
        assert upload.file_name == safe_file_name(content.decode())
        assert not {"/", "\\", ":", "\0", "\n", '"', "\u202e"} & set(upload.file_name)
        assert len(upload.file_name) <= 120
    assert {path.name.partition("-")[0].partition(".")[0] for path in world.folder.iterdir()} == {"world"}
    (copy,) = world.desks[R].tickets.values()
    assert len([file for comment in copy.comments or () for file in comment.attachments]) == len(NAMES)
    await world.close()


@pytest.mark.promise("P26")
@pytest.mark.parametrize("size", [None, 1, 10**12])
async def test_a_file_that_lies_about_its_size_is_left_where_it_is(size: int | None) -> None:
    """It is read no further than the limit; the text says where it is, and its ticket goes on."""
    world = World(max_attachment=1000)
    world.connector, Watched.uploads = Watched, []
    gid = world.gorgias.add_ticket("Files", "text")
    attached(world, gid, "big.bin", bytes(1_000_000), size)
    await world.settle()
    (copy,) = world.desks[R].tickets.values()
    said = [comment.body.text for comment in copy.comments or ()]
    assert Watched.uploads == []
    assert "big.bin: too large to copy" in said[-1]
    assert {path.name.partition("-")[0].partition(".")[0] for path in world.folder.iterdir()} == {"world"}
    await world.close()
