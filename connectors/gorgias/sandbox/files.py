"""Uploads and downloads. A file's address is /api/{file_type}/download/{domain_hash}/{resource_name}."""

import hashlib
import re

from aiohttp import BodyPartReader, web

from connectors.gorgias.sandbox.pages import Call
from connectors.gorgias.sandbox.world import Doc, Fault, World, not_found, wrong

CHUNK = 64 * 1024
#: Inferred: the other upload types are pictures and files that everyone may see.
PRIVATE = "attachment"


def store(world: World, name: str, content_type: str, content: bytes, kind: str = PRIVATE) -> Doc:
    """Keep a file; equal bytes are kept once, under as many addresses as they were uploaded."""
    digest = hashlib.sha256(content).hexdigest()
    domain = hashlib.sha256(world.options.domain.encode()).hexdigest()[:16]
    resource = f"{digest[:8]}{world.files.next_id:x}-{re.sub(r'[^A-Za-z0-9._-]+', '_', name)}"
    path = f"/api/{kind}/download/{domain}/{resource}"
    world.blobs[digest] = content
    row = {"path": path, "digest": digest, "name": name, "content_type": content_type, "size": len(content)}
    world.files.add(row)
    return {"url": path, "name": name, "size": len(content), "content_type": content_type}


async def _upload(world: World, call: Call) -> list[Doc]:
    """A form of files, each part named by its label (documented); answers a bare array."""
    if not call.request.content_type.startswith("multipart/"):
        raise wrong("file", "Missing data for required field.")
    taken = []
    async for part in await call.request.multipart():
        if not isinstance(part, BodyPartReader):
            raise wrong("file", "Nested forms are not taken.")
        content = await _content(part, world.options.max_upload)
        name = part.name or part.filename or "file"
        content_type = part.headers.get("Content-Type", "application/octet-stream")
        taken.append((name, content_type, content))
    if not taken:
        raise wrong("file", "Missing data for required field.")
    stored = [store(world, *file, kind=call.query.get("type", PRIVATE)) for file in taken]
    return [{**file, "url": world.base_url + file["url"]} for file in stored]


async def _content(part: BodyPartReader, limit: int) -> bytes:
    content = bytearray()
    while chunk := await part.read_chunk(CHUNK):
        content += chunk
        if len(content) > limit:
            raise Fault(413, "The file is too large.")
    return bytes(content)


def _download(world: World, call: Call) -> web.Response:
    path = call.request.path.rstrip("/")
    row = next(iter(world.files.where("path", path)), None)
    if row is None:
        raise not_found()
    name = row["name"].replace('"', "")
    disposition = f'attachment; filename="{name.encode("ascii", "replace").decode()}"'
    headers = {"Content-Type": row["content_type"], "Content-Disposition": disposition}
    return web.Response(body=world.blobs[row["digest"]], headers=headers)


HANDLERS = {
    "POST /api/upload": _upload,
    "GET /api/{file_type}/download/{domain_hash}/{resource_name}": _download,
}
