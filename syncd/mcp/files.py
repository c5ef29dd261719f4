"""Files that come in by a tool's arguments and go out by its answer, within limits."""

import base64
import binascii
import hashlib
import mimetypes
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syncd.connector import Upload
from syncd.errors import BadRequest, TooLarge

#: Bytes of all files of one upload, and of one download: what a conversation can bear.
UPLOAD_LIMIT = 20 * 10**6
DOWNLOAD_LIMIT = 5 * 10**6


@dataclass(frozen=True, slots=True)
class Files:
    """`roots` are the folders whose files may be named by their path; empty where the caller is on another machine."""

    roots: tuple[Path, ...] = ()
    download_limit: int = DOWNLOAD_LIMIT

    @property
    def schema(self) -> dict[str, Any]:
        """The argument that holds files."""
        ways = "content (base64) or path" if self.roots else "content (base64)"
        return {"type": "array", "items": {"type": "object"}, "description": f"[{{name*, {ways}}}]"}

    async def whole(self, chunks: AsyncIterator[bytes]) -> bytes:
        """A download in memory. Raises TooLarge."""
        content = bytearray()
        async for chunk in chunks:
            content += chunk
            if len(content) > self.download_limit:
                size = f"{self.download_limit // 10**6} MB"
                hint = "give the user its URL, or use `syncd gorgias` on the command line"
                raise TooLarge(f"the file is larger than {size}, the most that fits into an answer", hint=hint)
        return bytes(content)

    def local(self, path: str) -> Path:
        """A file of this machine that may be sent. Raises ValueError for any other."""
        if not self.roots:
            raise ValueError("files are named by their path only where syncd runs beside you: give content instead")
        found = Path(path).expanduser().resolve()
        for root in self.roots:
            inside = found.is_relative_to(root) and found.relative_to(root).parts
            if inside and not any(part.startswith(".") for part in inside):
                if not found.is_file():
                    raise ValueError(f"there is no file {path}")
                return found
        raise ValueError(f"{path} is hidden, or outside of {' and '.join(map(str, self.roots))}")


@contextmanager
def received(given: Any, files: Files) -> Iterator[list[tuple[str, Upload]]]:
    """The files of an argument on disk, for as long as this runs, each with its name. Raises BadRequest."""
    if not isinstance(given, list) or not given:
        raise BadRequest("no files to upload", ["files: at least one {name, content} is required"])
    with tempfile.TemporaryDirectory(prefix="syncd-mcp-") as folder:
        named: dict[str, Path] = {}
        problems: list[str] = []
        for number, one in enumerate(given):
            try:
                name, path = _one(one, files, Path(folder) / str(number))
            except ValueError as error:
                problems.append(f"files.{number}: {error}")
            else:
                problems += [f"files.{number}: the name {name!r} is given twice"] if name in named else []
                named[name] = path
        if sum(path.stat().st_size for path in named.values()) > UPLOAD_LIMIT:
            problems.append(f"files: larger than {UPLOAD_LIMIT // 10**6} MB")
        if problems:
            raise BadRequest("these files cannot be uploaded", problems)
        yield [(name, _upload(name, path)) for name, path in named.items()]


def _upload(name: str, path: Path) -> Upload:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    content_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Upload(path, name, content_type, path.stat().st_size, digest)


def _one(given: Any, files: Files, place: Path) -> tuple[str, Path]:
    if not isinstance(given, dict) or set(given) - {"name", "content", "path"}:
        raise ValueError("must be {name, content}" + (" or {path}" if files.roots else ""))
    if ("content" in given) == ("path" in given) or not all(isinstance(value, str) for value in given.values()):
        raise ValueError("give either content or path, as text")
    if "path" in given:
        path = files.local(given["path"])
        return given.get("name") or path.name, path
    if not given.get("name"):
        raise ValueError("name is required")
    try:
        place.write_bytes(base64.b64decode(given["content"], validate=True))
    except binascii.Error as error:
        raise ValueError(f"content is not base64: {error}") from error
    return given["name"], place
