"""Attachments on their way from one account to the other: streamed through a file on disk, known by their hash."""

import asyncio
import contextlib
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from syncd import text
from syncd.bench import Bench
from syncd.connector import Upload
from syncd.errors import Forbidden, Gone, Refused, TryLater
from syncd.model import Attachment, Body, Comment, Side

#: What is strange about a file is believed when it was so this many times, in different turns of its ticket, with
#: growing pauses between them.
READINGS = 4


@dataclass(frozen=True, slots=True)
class Carried:
    """A comment with the files it takes along; what could not be taken is said in its text."""

    comment: Comment
    uploads: tuple[Upload, ...] = ()


@asynccontextmanager
async def carried(bench: Bench, target: Side, comment: Comment) -> AsyncIterator[Carried]:
    """The comment's files on our disk while it is written to `target`, and gone afterwards."""
    uploads: list[Upload] = []
    left: list[str] = []
    try:
        for attachment in comment.attachments:
            upload, why = await _fetch(bench, target, attachment)
            uploads += [upload] if upload else []
            left += [_left_behind(attachment, why)] if why else []
        yield Carried(_with_notes(comment, left), tuple(uploads))
    finally:
        for upload in uploads:
            await asyncio.to_thread(upload.path.unlink, missing_ok=True)


def _left_behind(attachment: Attachment, why: str) -> str:
    where = f" {attachment.url}" if attachment.url else ""
    return f"[{attachment.file_name}: {why}{where}]"


def _with_notes(comment: Comment, notes: Sequence[str]) -> Comment:
    if not notes:
        return replace(comment)
    plain = "\n".join(part for part in (comment.body.text, *notes) if part)
    html = comment.body.html
    html = html + "".join(text.text_to_html(note) for note in notes) if html is not None else None
    return replace(comment, body=Body(plain, html))


async def _fetch(bench: Bench, target: Side, attachment: Attachment) -> tuple[Upload | None, str]:
    """The file on our disk, or why it stays where it is."""
    limits = (bench.sync.max_attachment, bench.accounts[target].capabilities.max_attachment)
    limit = min(limit for limit in limits if limit is not None)
    if not bench.accounts[target].capabilities.attachments:
        return None, "attachments cannot be stored here, it stays at"
    if attachment.size is not None and attachment.size > limit:
        return None, f"too large to copy ({attachment.size} bytes), it stays at"
    path = await asyncio.to_thread(_new_file, bench.folder)
    try:
        digest, size = await _store(bench, target.other, attachment, path, limit)
        if size <= limit and attachment.size not in {None, size}:
            _must_be_so(bench, target.other, attachment, digest, "came with another length than its account says")
    except (Gone, Forbidden, Refused) as error:
        await asyncio.to_thread(path.unlink, missing_ok=True)
        # As where a server that is being worked on sends everybody elsewhere, perhaps to a page that is not there.
        _must_be_so(bench, target.other, attachment, type(error).__name__, f"could not be read: {error}")
        return None, "could not be read" if isinstance(error, Gone) else f"could not be read: {error}"
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    if size > limit:
        await asyncio.to_thread(path.unlink, missing_ok=True)
        return None, f"too large to copy (over {limit} bytes), it stays at"
    return await _upload(bench, target, attachment, path, (digest, size)), ""


def _must_be_so(bench: Bench, source: Side, attachment: Attachment, what: str, why: str) -> None:
    """What came in a file's place may be a login page, or half of it; what stays is believed. Raises TryLater.

    Whoever makes a message gives its files' lengths and addresses, which may be wrong for good.
    """
    key = (source, attachment.url or attachment.id, what)
    bench.doubted[key] += 1
    if bench.doubted[key] < READINGS and not bench.dry:  # a dry run downloads nothing
        raise TryLater(f"{attachment.file_name} {why}: it is read once more")
    del bench.doubted[key]


def _new_file(folder: Path) -> Path:
    handle, name = tempfile.mkstemp(prefix="syncd-", dir=folder)
    os.close(handle)
    return Path(name)


async def _store(bench: Bench, source: Side, attachment: Attachment, path: Path, limit: int) -> tuple[str, int]:
    """Stream the content to disk; stops right after the limit."""
    sha256, size = hashlib.sha256(), 0
    with await asyncio.to_thread(path.open, "wb") as file:
        async for chunk in bench.accounts[source].download(attachment):
            size += len(chunk)
            if size > limit:
                break
            sha256.update(chunk)
            await asyncio.to_thread(file.write, chunk)
    return sha256.hexdigest(), size


async def _upload(bench: Bench, target: Side, attachment: Attachment, path: Path, content: tuple[str, int]) -> Upload:
    name = text.safe_file_name(attachment.file_name)
    digest, size = content
    held = None
    if bench.accounts[target].capabilities.reuses_uploads:
        held = await bench.store.file_url(bench.workspace, target, digest, name)
    return Upload(path, name, attachment.content_type or "application/octet-stream", size, digest, held)
