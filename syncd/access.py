"""Who calls the HTTP API, and what they may: tokens as they are shown, kept and checked."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from fnmatch import fnmatchcase

from state.store import Store
from state.tables import ApiToken

#: What every token begins with, so that one in the wrong place is recognised.
PREFIX = "syncd_"
#: Bytes of the part that names a token, and of the part that nobody guesses.
ID_BYTES = 5
SECRET_BYTES = 32


class Access(IntEnum):
    """What a caller may do: each level includes those before it. `send` may make the product write to a customer."""

    READ = 1
    WRITE = 2
    SEND = 3

    @property
    def word(self) -> str:
        """As it is written in commands and answers."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever is let in: `workspace` is the only one that they see, None is all."""

    name: str
    workspace: str | None = None
    access: Access = Access.SEND
    operations: tuple[str, ...] = ("*",)

    def refusal(self, workspace: str, operation: str, route: str, access: Access) -> str:
        """Why this caller may not call this operation (`route` is its `resource.method`); empty when they may."""
        if self.workspace not in (None, workspace):
            return f"this token is for the workspace {self.workspace} and sees no other"
        if not any(fnmatchcase(name, pattern) for pattern in self.operations for name in (route, operation)):
            return f"this token may not call {route}: it is for {', '.join(self.operations)}"
        if access > self.access:
            return f"this token may only {self.access.word}, and this needs {access.word}"
        return ""


#: Whoever shows the daemon's own token.
ADMIN = Caller("admin")


@dataclass(frozen=True, slots=True)
class Minted:
    """A new token: `shown` is seen once and kept nowhere."""

    id: str
    shown: str
    digest: str


def mint() -> Minted:
    """A token that nobody guesses: 256 random bits behind the name by which it is found."""
    token_id = secrets.token_hex(ID_BYTES)
    shown = f"{PREFIX}{token_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    return Minted(token_id, shown, digest(shown))


def digest(shown: str) -> str:
    """What is kept of a token. It has enough bits of its own: a slow hash or a salt would add nothing."""
    return hashlib.sha256(shown.encode("utf-8", "replace")).hexdigest()


def looks_like_token(shown: str) -> bool:
    """Whether this could be a token of ours, so that the store is asked."""
    return shown.startswith(PREFIX) and len(shown) <= 200


class Keys:
    """The tokens of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def caller(self, shown: str, now: datetime) -> Caller | None:
        """Who shows this token; None for one that is unknown, wrong, revoked or expired. Raises StoreError."""
        if not looks_like_token(shown):
            return None
        row = await self._store.token(shown.removeprefix(PREFIX).partition("_")[0])
        # Also compared where there is none: how long this takes tells nothing.
        same = hmac.compare_digest(digest(shown), row.digest if row else digest(""))
        return _caller(row) if row and same and is_good(row, now) else None


def is_good(token: ApiToken, now: datetime) -> bool:
    """Neither revoked nor expired."""
    return token.revoked_at is None and (token.expires_at is None or token.expires_at > now)


def _caller(row: ApiToken) -> Caller:
    return Caller(row.id, row.workspace, Access[row.access.upper()], tuple(row.operations))
