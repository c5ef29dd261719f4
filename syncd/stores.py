"""Opening the store: named as people know it, waited for while it is locked or away, or only looked at."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from state.store import Store
from syncd import log
from syncd.errors import StoreBusy, StoreError
from syncd.runner import utc_now
from syncd.settings import Settings

#: For how long a database that is locked or away is tried, and the pause between two tries (seconds).
PATIENCE = 30.0
PAUSE = 1.0
SQLITE = "sqlite:///"
BUSY = "is another program holding it, is its disk full, or its server down? Nothing is lost: run this again"

logger = log.get(__name__)


def place(settings: Settings) -> str:
    """The database as it may be named in a message."""
    url = settings.store.url.get_secret_value()
    if url.startswith(SQLITE):
        return f"the database {url.removeprefix(SQLITE)}"
    parts = urlsplit(url)
    return f"the database {parts.path.lstrip('/')} at {parts.hostname or 'this machine'}"


def is_missing(settings: Settings) -> bool:
    """Whether the database is a file that nobody has made yet."""
    url = settings.store.url.get_secret_value()
    return url.startswith(SQLITE) and not Path(url.removeprefix(SQLITE)).exists()


@asynccontextmanager
async def opened(settings: Settings, *, patience: float = PATIENCE) -> AsyncIterator[Store]:
    """The store with its schema up to date, waited for while it is locked or away. Raises StoreError and its kinds."""
    store = await _opened(settings, upgrade=True, until=time.monotonic() + patience)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def looked_at(settings: Settings) -> AsyncIterator[Store]:
    """The store as it is, neither made nor migrated. Raises StoreError where there is none yet."""
    if is_missing(settings):
        raise StoreError(f"{place(settings)} does not exist yet", hint="`syncd once` or `syncd run` makes it")
    store = await _opened(settings, upgrade=False, until=time.monotonic())
    try:
        yield store
    except StoreBusy as error:
        raise _busy(settings, error) from error
    finally:
        await store.close()


async def _opened(settings: Settings, *, upgrade: bool, until: float) -> Store:
    first = True
    while True:
        try:
            return await _once(settings, upgrade=upgrade)
        except StoreBusy as error:
            # SQLite says "locked" of what passes; a file that cannot be read does not mend itself.
            passing = "locked" in str(error) or not settings.store.url.get_secret_value().startswith(SQLITE)
            if not passing or time.monotonic() >= until:
                raise _busy(settings, error) from error
            if first:
                logger.warning("waiting for the database", database=place(settings), error=str(error.args[0]))
            first = False
        await asyncio.sleep(PAUSE)


async def _once(settings: Settings, *, upgrade: bool) -> Store:
    try:
        store = Store(settings.store.url.get_secret_value(), utc_now)
    except StoreError as error:
        raise _placed(settings, error) from error
    # 0 keeps everything.
    store.keep = timedelta(seconds=settings.store.keep_history) or None
    try:
        return await store.open(upgrade=upgrade)
    except StoreError as error:
        await store.close()
        if isinstance(error, StoreBusy):
            raise
        raise _placed(settings, error) from error
    except BaseException:
        await store.close()
        raise


def _busy(settings: Settings, error: StoreBusy) -> StoreBusy:
    if error.hint == BUSY:
        return error
    return StoreBusy(f"{place(settings)}: {error.args[0]}", hint=BUSY)


def _placed(settings: Settings, error: StoreError) -> StoreError:
    return type(error)(f"{place(settings)}: {error.args[0]}", hint=error.hint)
