"""The sandbox's memory on disk: every changed row, written a moment later and when it closes."""

import asyncio
import sqlite3
from pathlib import Path

import orjson

from connectors.gorgias.sandbox.world import World

DELAY = 0.2  # seconds in which changes are gathered into one transaction
SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (kind TEXT, id INTEGER, body BLOB NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blob (digest TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counter (kind TEXT PRIMARY KEY, next_id INTEGER NOT NULL) WITHOUT ROWID;
"""


class Disk:
    """A world's rows in a SQLite file."""

    def __init__(self, world: World, path: Path) -> None:
        self.world = world
        self.dirty: set[tuple[str, int]] = set()
        self.saved: set[str] = set()
        self.timer: asyncio.TimerHandle | None = None
        self.db = sqlite3.connect(path)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=NORMAL")
        self.db.executescript(SCHEMA)

    def load(self) -> None:
        """Fill the world from the file, and watch it from now on."""
        for kind, body in self.db.execute("SELECT kind, body FROM entry ORDER BY kind, id"):
            self.world[kind].load(orjson.loads(body))
        for digest, body in self.db.execute("SELECT digest, body FROM blob"):
            self.world.blobs[digest] = body
            self.saved.add(digest)
        for kind, next_id in self.db.execute("SELECT kind, next_id FROM counter"):
            if kind == "channel":
                self.world.channel_ids = next_id
            else:
                self.world[kind].next_id = next_id
        for table in self.world.tables.values():
            table.on_change = self.changed

    def changed(self, kind: str, row_id: int) -> None:
        """Remember to write a row; soon, or at the next `flush` where no event loop runs."""
        self.dirty.add((kind, row_id))
        if self.timer is None:
            try:
                self.timer = asyncio.get_running_loop().call_later(DELAY, self.flush)
            except RuntimeError:
                return

    def flush(self) -> None:
        """Write what changed, in one transaction."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        dirty, self.dirty = self.dirty, set()
        kept = [(kind, row_id, self.world[kind].get(row_id)) for kind, row_id in dirty]
        with self.db:
            self.db.executemany(
                "DELETE FROM entry WHERE kind = ? AND id = ?", [(kind, row_id) for kind, row_id, row in kept if not row]
            )
            self.db.executemany(
                "INSERT OR REPLACE INTO entry VALUES (?, ?, ?)",
                [(kind, row_id, orjson.dumps(row)) for kind, row_id, row in kept if row],
            )
            fresh = [(digest, body) for digest, body in self.world.blobs.items() if digest not in self.saved]
            self.db.executemany("INSERT OR REPLACE INTO blob VALUES (?, ?)", fresh)
            counters = [(table.name, table.next_id) for table in self.world.tables.values()]
            counters.append(("channel", self.world.channel_ids))
            self.db.executemany("INSERT OR REPLACE INTO counter VALUES (?, ?)", counters)
        self.saved.update(digest for digest, _ in fresh)

    def close(self) -> None:
        """Write the rest and let the file go."""
        self.flush()
        self.db.close()
