"""Keys to the HTTP API, and the writes that came through it: who may call, who called, and what was answered."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import insert, select, update
from sqlmodel import Session, col

from state.door import Door, core, row_of
from state.tables import ApiCall, ApiToken

TOKEN = core(ApiToken)
CALL = core(ApiCall)
#: So many answers are kept for repetitions; beyond that the oldest go first.
KEPT = 10_000
FORGOTTEN = {"key": None, "digest": None, "answer": None, "key_until": None}


@dataclass(frozen=True, slots=True)
class Begun:
    """A call as it was stored: its number, or the earlier call that has the same key."""

    id: int
    former: ApiCall | None = None


class Tokens(Door):
    """Tokens by id, and calls by number."""

    async def add_token(self, token: ApiToken) -> None:
        """Store a new token."""
        row = row_of(token)
        await self._run(lambda session: session.connection().execute(insert(TOKEN), row) and None)

    async def token(self, token_id: str) -> ApiToken | None:
        """The token of this id, whether or not it is still good."""
        statement = select(ApiToken).where(col(ApiToken.id) == token_id)
        return await self._run(lambda session: session.execute(statement).scalar())

    async def tokens(self) -> list[ApiToken]:
        """All tokens, the newest first."""
        statement = select(ApiToken).order_by(col(ApiToken.created_at).desc(), col(ApiToken.id))
        return await self._run(lambda session: list(session.execute(statement).scalars()))

    async def revoke_token(self, token_id: str) -> bool:
        """Let the token open nothing from now on; False when there is none of this id, or it was revoked before."""
        good = (TOKEN.c.id == token_id, TOKEN.c.revoked_at.is_(None))
        change = update(TOKEN).where(*good).values(revoked_at=self._now())
        return await self._run(lambda session: _count(session, change) > 0)

    async def begin_call(self, call: ApiCall, keep: timedelta) -> Begun:
        """Store a write before it is sent; where its key was used before, store nothing and return that call.

        Its answer is kept for `keep`, if it has a key.
        """
        now = self._now()
        row = {**row_of(call, "id"), "at": now, "key_until": now + keep if call.key else None}

        def work(session: Session) -> Begun:
            if call.key:
                session.connection().execute(update(CALL).where(CALL.c.key_until < now).values(FORGOTTEN))
                if former := _former(session, call):
                    return Begun(former.id or 0, former)
            number = session.connection().execute(insert(CALL).returning(CALL.c.id), row).scalar_one()
            if call.key:
                _make_room(session)
            return Begun(number)

        return await self._run(work)

    async def end_call(self, number: int, status: int, answer: bytes | None, *, forget: bool = False) -> None:
        """Note what became of a write; `forget` frees its key, for a call that certainly changed nothing."""
        values: dict[str, Any] = {"status": status, **(FORGOTTEN if forget else {"answer": answer})}
        change = update(CALL).where(CALL.c.id == number).values(values)
        await self._run(lambda session: session.connection().execute(change) and None)


def _count(session: Session, change: Any) -> int:
    return int(session.connection().execute(change).rowcount)


def _former(session: Session, call: ApiCall) -> ApiCall | None:
    same = (CALL.c.workspace == call.workspace, CALL.c.side == call.side, CALL.c.path == call.path)
    return session.execute(select(ApiCall).where(*same, CALL.c.key == call.key)).scalar()


def _make_room(session: Session) -> None:
    keyed = select(CALL.c.id).where(CALL.c.key_until.is_not(None))
    last = session.connection().execute(keyed.order_by(CALL.c.id.desc()).offset(KEPT).limit(1)).scalar()
    if last is not None:
        old = (CALL.c.key_until.is_not(None), CALL.c.id <= last)
        session.connection().execute(update(CALL).where(*old).values(FORGOTTEN))
