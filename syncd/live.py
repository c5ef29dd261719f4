"""Both accounts of every workspace, tried out: credentials, rights, and the names that the configuration uses."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack

from syncd import log
from syncd.connector import Connector, Finding, Vocabulary
from syncd.errors import AccountError, ConfigError
from syncd.model import Side
from syncd.problems import near
from syncd.runner import account
from syncd.settings import Settings, Workspace

Found = list[tuple[str, Side, Finding]]


async def check(settings: Settings) -> Found:
    """What every account answers, side by side with the names in the configuration."""
    return [found for workspace in settings.workspaces for found in await _workspace(workspace)]


async def _workspace(workspace: Workspace) -> Found:
    found: Found = []
    words: dict[Side, Vocabulary] = {}
    async with AsyncExitStack() as stack:
        for side in Side:
            try:
                connector = await stack.enter_async_context(account(workspace, side))
                found += [(workspace.name, side, finding) for finding in await connector.check()]
                words |= await _words(connector, side) if all(f.ok for _, at, f in found if at is side) else {}
            except (AccountError, ConfigError) as error:
                found.append((workspace.name, side, Finding("the account answers", False, log.masked(str(error)))))
    if len(words) == 2:
        found += [(workspace.name, side, finding) for side, finding in _names(workspace, words)]
    return found


async def _words(connector: Connector, side: Side) -> dict[Side, Vocabulary]:
    return {side: await connector.vocabulary()}


def _names(workspace: Workspace, words: Mapping[Side, Vocabulary]) -> Iterable[tuple[Side, Finding]]:
    """A finding for each name in a table of [sync] that its account does not know."""
    sync = workspace.sync
    tables: dict[str, tuple[Mapping[str, Iterable[str]], Callable[[Vocabulary], list[str]]]] = {
        "status": (sync.status, lambda v: [status.name for status in v.statuses]),
        "priority": (sync.priority, lambda v: list(v.priorities)),
        "users": (sync.users, lambda v: [word for u in v.users for word in (u.id, u.email or "", u.name) if word]),
        "teams": (sync.teams, lambda v: [team.name for team in v.teams]),
        "fields": ({g: (r,) for g, r in sync.fields.items()}, lambda v: [field.name for field in v.fields]),
    }
    for table, (rows, known) in tables.items():
        for side, wanted in _by_side(rows).items():
            names = known(words[side])
            folded = [name.casefold() for name in names]
            for word in wanted:
                if word.casefold() not in folded:
                    what = f"{workspace.file}: [sync.{table}] names {word!r}, which is not there"
                    listed = f"; there are: {', '.join(names)}" if table != "users" and names else ""
                    yield side, Finding(what, False, f"correct the name{near(word, folded)}{listed}")


def _by_side(rows: Mapping[str, Iterable[str]]) -> dict[Side, list[str]]:
    remote = [word for words in rows.values() for word in words]
    return {Side.GORGIAS: list(rows), Side.REMOTE: list(dict.fromkeys(remote))}
