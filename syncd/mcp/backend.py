"""What the tools work on: one workspace, its two accounts, and what syncd knows about them."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import Any, Self

from syncd import reports
from syncd.connector import Connector
from syncd.errors import BadRequest
from syncd.explain import explain
from syncd.model import Side
from syncd.runner import account
from syncd.settings import Settings, Workspace

Opened = Callable[[Side], Awaitable[Connector]]


class Backend:
    """One workspace; `opened` gives an open account of it."""

    def __init__(self, settings: Settings, workspace: Workspace, opened: Opened) -> None:
        self.settings = settings.model_copy(update={"workspaces": (workspace,)})
        self.workspace = workspace
        self.account = opened

    @property
    def may_send(self) -> bool:
        """Whether the configuration allows mail to customers."""
        return bool(getattr(self.workspace.gorgias, "allow_send", False))

    async def status(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The workspace's numbers, and what is parked. Raises StoreError."""
        return (await reports.status(self.settings))[0], await reports.parked(self.settings)

    async def explain(self, ticket: str) -> dict[str, Any]:
        """Why a ticket is as it is. Raises StoreError, BadRequest."""
        return asdict((await explain(self.settings, ticket))[0])


def chosen(settings: Settings, name: str | None) -> Workspace:
    """The workspace of this name, or the only one. Raises BadRequest with their names."""
    names = [workspace.name for workspace in settings.workspaces]
    if name is None and len(names) == 1:
        return settings.workspaces[0]
    if name not in names:
        which = f"there is no workspace {name!r}" if name else "which workspace?"
        raise BadRequest(which, [f"there is: {known}" for known in names])
    return settings.workspaces[names.index(name)]


class Accounts:
    """Accounts of our own, each opened when it is first asked for and closed at the end."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._stack = AsyncExitStack()
        self._open: dict[Side, Connector] = {}
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def __call__(self, side: Side) -> Connector:
        """The account of a side."""
        async with self._opening:
            if side not in self._open:
                self._open[side] = await self._stack.enter_async_context(account(self._workspace, side))
            return self._open[side]
