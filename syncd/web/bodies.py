"""Bodies of calls: JSON within bounds, and files, which go through a folder on disk and never through memory."""

import asyncio
import hashlib
import mimetypes
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http import HttpProcessingError

from syncd.connector import Upload
from syncd.http import CHUNK
from syncd.web.faults import Fault

#: Bytes of a JSON body, and of all the files of one call together.
MAX_JSON = 8 * 1024 * 1024
MAX_FILES = 100 * 1024 * 1024
MAX_PARTS = 20
UNKNOWN = "application/octet-stream"
#: No body at all, where `null` is one.
NOTHING: Any = object()


@dataclass(slots=True)
class Allowance:
    """The bytes that are left to a call."""

    left: int

    def take(self, size: int) -> None:
        """Count bytes. Raises Fault when there are too many."""
        self.left -= size
        if self.left < 0:
            raise Fault(413, "the body is too large")


async def read_json(request: web.Request) -> Any:
    """The JSON of a body; NOTHING where there is none. Raises Fault."""
    allowance, parts = Allowance(MAX_JSON), []
    async for chunk in request.content.iter_chunked(CHUNK):
        allowance.take(len(chunk))
        parts.append(chunk)
    raw = b"".join(parts)
    if not raw.strip():
        return NOTHING
    if request.headers.get("Content-Type") and not request.content_type.endswith(("/json", "+json")):
        raise Fault(415, f"the body must be application/json, not {request.content_type}")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Fault(400, f"the body is no JSON: {error}", failures=[f"body: is no JSON: {error}"]) from error


async def read_whole(request: web.Request, folder: Path) -> Upload:
    """The body as it comes, on disk. Raises Fault."""
    content_type = request.headers.get("Content-Type", UNKNOWN)
    return await _kept(request.content.iter_chunked(CHUNK), folder / "body", "body", content_type, Allowance(MAX_FILES))


async def read_files(request: web.Request, folder: Path) -> list[tuple[str, Upload]]:
    """The files of a form by the names of their parts, on disk. Raises Fault."""
    if request.content_type != "multipart/form-data":
        raise Fault(415, f"the body must be multipart/form-data, not {request.content_type}")
    try:
        return await _parts(await request.multipart(), folder)
    except (ValueError, RuntimeError, HttpProcessingError) as error:  # RuntimeError: a coding that nobody knows
        reason = "the headers of a part are wrong" if isinstance(error, HttpProcessingError) else str(error)
        raise Fault(400, f"the body is no form: {reason}", failures=[f"body: {reason}"]) from error


async def _parts(reader: MultipartReader, folder: Path) -> list[tuple[str, Upload]]:
    found: list[tuple[str, Upload]] = []
    allowance = Allowance(MAX_FILES)
    while part := await reader.next():
        if not isinstance(part, BodyPartReader) or not part.name:
            raise ValueError(f"part {len(found) + 1} has no name, or is a form itself")
        if "Content-Encoding" in part.headers:  # a small one might become a very large one
            raise ValueError(f"part {len(found) + 1} is compressed")
        if len(found) == MAX_PARTS:
            raise ValueError(f"more than {MAX_PARTS} files")
        name = part.filename or part.name
        kind = part.headers.get("Content-Type") or mimetypes.guess_type(name)[0] or UNKNOWN
        found.append((part.name, await _kept(_decoded(part), folder / str(len(found)), name, kind, allowance)))
    return found


async def _decoded(part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(CHUNK):
        yield part.decode(chunk) if "Content-Transfer-Encoding" in part.headers else chunk


async def _kept(chunks: AsyncIterator[bytes], path: Path, name: str, content_type: str, allowance: Allowance) -> Upload:
    size, digest = 0, hashlib.sha256()
    with await asyncio.to_thread(path.open, "wb") as file:
        async for chunk in chunks:
            allowance.take(len(chunk))
            size += len(chunk)
            digest.update(chunk)
            await asyncio.to_thread(file.write, chunk)
    return Upload(path, name, content_type, size, digest.hexdigest())
