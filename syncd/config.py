"""TOML files to `Settings`. All problems are reported at once, each with its file, its key and what to do.

A path is a workspace's file, or a folder: there every `*.toml` is a workspace's, but for `syncd.toml`, which holds what
all of them share (`[store]`, `[http]`, `[log]`). Nothing is read from the network.
"""

import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from syncd import registry
from syncd.errors import ConfigError
from syncd.problems import Problems, near
from syncd.settings import (
    HttpSettings,
    LogSettings,
    Settings,
    StoreSettings,
    SyncSettings,
    Table,
    Workspace,
    WorkspaceTable,
    store_url,
)

SHARED_FILE = "syncd.toml"
#: The tables of the daemon, of which there is one, whichever file they stand in.
DAEMON: dict[str, type[Table]] = {"store": StoreSettings, "http": HttpSettings, "log": LogSettings}
OWN: dict[str, type[Table]] = {"workspace": WorkspaceTable, "sync": SyncSettings}
#: What a connector that has such a key takes over from [sync], unless its own table says otherwise.
INHERITED = ("allow_send", "overlap")
WORKSPACE_TABLES = ("workspace", *DAEMON, "gorgias", "remote", "sync")

T = TypeVar("T", bound=Table)


def load(paths: Sequence[Path]) -> Settings:
    """The settings that these files and folders hold. Raises ConfigError with every problem."""
    loader = _Loader()
    settings = loader.load(paths)
    if settings is None or loader.problems.found:
        raise ConfigError(dict.fromkeys(loader.problems.found))
    return settings


class _Loader:
    """One reading of the configuration: notes problems on the way and stops at none."""

    def __init__(self) -> None:
        self.problems = Problems(DAEMON | OWN)
        #: (table, key) of the daemon's tables -> the value as written, and the file it stands in
        self.daemon: dict[tuple[str, str], tuple[Any, Path]] = {}

    def load(self, paths: Sequence[Path]) -> Settings | None:
        files = self.files(paths)
        if not files and not self.problems.found:
            self.problems.of_file(", ".join(map(str, paths)) or "no path", "holds no workspace file (*.toml)")
        for shared in dict.fromkeys(file.parent / SHARED_FILE for file in files):
            if shared not in files and shared.is_file():
                self.shared(shared)
        workspaces = [workspace for file in files if (workspace := self.workspace(file))]
        self.names(workspaces)
        home = files[0] if files else Path.cwd() / SHARED_FILE
        store = self.of_daemon("store", StoreSettings, home)
        http = self.of_daemon("http", HttpSettings, home)
        log = self.of_daemon("log", LogSettings, home)
        if store is None or http is None or log is None:
            return None
        return Settings(store=store, http=http, log=log, workspaces=tuple(workspaces))

    # -- files ----------------------------------------------------------------------------------------------------

    def files(self, paths: Iterable[Path]) -> list[Path]:
        """The workspace files behind these paths, each once."""
        found: dict[Path, Path] = {}
        for path in paths:
            if path.is_dir():
                inside = [file for file in sorted(path.glob("*.toml")) if file.name != SHARED_FILE]
            elif path.is_file():
                inside = [path]
            else:
                self.problems.of_file(path, "there is no such file or folder")
                continue
            for file in inside:
                found.setdefault(file.resolve(), file)
        return list(found.values())

    def read(self, file: Path) -> dict[str, Any] | None:
        try:
            return tomllib.loads(file.read_text(encoding="utf-8-sig"))
        except OSError as error:
            self.problems.of_file(file, f"cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            self.problems.of_file(file, "is not UTF-8 text")
        except tomllib.TOMLDecodeError as error:
            self.problems.of_file(file, f"is not TOML: {error}")
        return None

    def shared(self, file: Path) -> None:
        """Take in what a folder's `syncd.toml` says for all workspaces in it."""
        tables = self.read(file) or {}
        self.known(file, tables, tuple(DAEMON))
        self.gather(file, tables)

    def workspace(self, file: Path) -> Workspace | None:
        tables = self.read(file)
        if tables is None:
            return None
        self.known(file, tables, WORKSPACE_TABLES)
        self.gather(file, tables)
        about = self.problems.model("workspace", WorkspaceTable, tables.get("workspace"), file)
        sync = self.problems.model("sync", SyncSettings, tables.get("sync", {}), file)
        gorgias = self.account("gorgias", "gorgias", tables.get("gorgias"), sync, file)
        product, rest = self.product(tables.get("remote"), file)
        remote = self.account("remote", product, rest, sync, file) if product else None
        if about is None or sync is None or gorgias is None or remote is None or product is None:
            return None
        return Workspace(
            name=about.name,
            poll_interval=about.poll_interval,
            file=file,
            gorgias=gorgias,
            remote=remote,
            remote_connector=product,
            sync=sync,
        )

    def names(self, workspaces: Iterable[Workspace]) -> None:
        """Note workspaces that have the name of an earlier one: rows, logs and metrics are told apart by it."""
        first: dict[str, Path] = {}
        for workspace in workspaces:
            if (file := first.setdefault(workspace.name, workspace.file)) is not workspace.file:
                reason = f'"{workspace.name}" is also the name of the workspace in {file}'
                self.problems.add(workspace.file, "workspace", "name", reason)

    # -- tables ---------------------------------------------------------------------------------------------------

    def known(self, file: Path, tables: dict[str, Any], known: Sequence[str]) -> None:
        """Note the tables that nobody reads."""
        for name, content in tables.items():
            if name in known:
                continue
            if name in WORKSPACE_TABLES:
                reason = f"{SHARED_FILE} holds only {', '.join(known)}; a workspace has a file of its own"
            else:
                reason = "unknown table" if isinstance(content, dict) else "unknown key outside of a table"
            self.problems.add(file, name, "", reason + near(name, known))

    def gather(self, file: Path, tables: dict[str, Any]) -> None:
        """Remember the daemon's tables of this file; a value that differs from another file's is a problem."""
        for table in DAEMON:
            content = tables.get(table, {})
            if not isinstance(content, dict):
                self.problems.add(file, table, "", "must be a table")
                continue
            for key, written in content.items():
                value = _located(file, table, key, written)
                former, origin = self.daemon.setdefault((table, key), (value, file))
                if former != value:
                    self.problems.add(file, table, key, f"differs from the value in {origin}; one daemon has only one")

    def of_daemon(self, table: str, model: type[T], home: Path) -> T | None:
        """The daemon's table out of all files; `home` is the file beside which a default file name is found."""
        values = {key: value for (name, key), (value, _) in self.daemon.items() if name == table}
        origins = {key: file for (name, key), (_, file) in self.daemon.items() if name == table}
        return self.problems.model(table, model, values, next(iter(origins.values()), home), origins)

    def product(self, table: Any, file: Path) -> tuple[str | None, dict[str, Any]]:
        """The connector that `[remote]` names, and the rest of the table, which is the connector's own."""
        if not isinstance(table, dict):
            self.problems.add(file, "remote", "", "is missing" if table is None else "must be a table")
            return None, {}
        rest = {key: value for key, value in table.items() if key != "connector"}
        name, known = table.get("connector"), sorted(registry.names())
        if isinstance(name, str) and name in known:
            return name, rest
        reason = "is required" if name is None else "there is no such connector"
        self.problems.add(
            file, "remote", "connector", f"{reason}; known are {', '.join(known)}{near(str(name), known)}"
        )
        return None, rest

    def account(self, table: str, connector: str, values: Any, sync: SyncSettings | None, file: Path) -> Any:
        """The table of an account as its connector's own Config, or None when it does not fit."""
        try:
            config = registry.connector_class(connector).Config
        except ConfigError as error:  # the connector's package is broken
            for problem in error.problems:
                self.problems.add(file, table, "", problem)
            return None
        if sync and isinstance(values, dict):
            values = {key: getattr(sync, key) for key in INHERITED if key in config.model_fields} | values
        return self.problems.model(table, config, values, file)


def _located(file: Path, table: str, key: str, value: Any) -> Any:
    """The value, with a database file's name made absolute, so that equal text in two folders is seen to differ."""
    if (table, key) == ("store", "url") and isinstance(value, str) and len(value) > len("sqlite:///"):
        return store_url(value, file.parent) if value.startswith("sqlite:///") else value
    return value
