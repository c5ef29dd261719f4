"""TOML files to `Settings`. All problems are reported at once, each with its file, its key and what to do.

A path is a workspace's file, or a folder: there every `*.toml` is a workspace's, but for `syncd.toml`, which holds what
all of them share (`[store]`, `[http]`, `[log]`). Nothing is read from the network.
"""

import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from syncd import registry
from syncd.errors import ConfigError
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
WORKSPACE_TABLES = ("workspace", *DAEMON, "gorgias", "remote", "sync")

M = TypeVar("M", bound=BaseModel)


def load(paths: Sequence[Path]) -> Settings:
    """The settings that these files and folders hold. Raises ConfigError with every problem."""
    loader = _Loader()
    settings = loader.load(paths)
    if settings is None or loader.problems:
        raise ConfigError(dict.fromkeys(loader.problems))
    return settings


class _Loader:
    """One reading of the configuration: gathers problems on the way and stops at none."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        #: (table, key) of the daemon's tables -> the value as written, and the file it stands in
        self.daemon: dict[tuple[str, str], tuple[Any, Path]] = {}

    def load(self, paths: Sequence[Path]) -> Settings | None:
        files = self.files(paths)
        if not files and not self.problems:
            self.problems.append(f"{', '.join(map(str, paths)) or 'no path'}: holds no workspace file (*.toml)")
        for shared in dict.fromkeys(file.parent / SHARED_FILE for file in files):
            self.shared(shared, asked=shared in files)
        workspaces = [workspace for file in files if (workspace := self.workspace(file))]
        self.names(workspaces)
        folder = files[0].parent if files else Path.cwd()
        store = self.of_daemon("store", StoreSettings, folder)
        http = self.of_daemon("http", HttpSettings, folder)
        log = self.of_daemon("log", LogSettings, folder)
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
                self.problems.append(f"{path}: there is no such file or folder")
                continue
            for file in inside:
                found.setdefault(file.resolve(), file)
        return list(found.values())

    def read(self, file: Path) -> dict[str, Any] | None:
        try:
            return tomllib.loads(file.read_text(encoding="utf-8-sig"))
        except OSError as error:
            self.problems.append(f"{file}: cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            self.problems.append(f"{file}: is not UTF-8 text")
        except tomllib.TOMLDecodeError as error:
            self.problems.append(f"{file}: is not TOML: {error}")
        return None

    def shared(self, file: Path, *, asked: bool) -> None:
        """Take in a folder's `syncd.toml`, unless it is a workspace's file itself that was asked for by name."""
        if asked or not file.is_file():
            return
        tables = self.read(file) or {}
        self.tables(file, tables, tuple(DAEMON))
        self.gather(file, tables)

    def workspace(self, file: Path) -> Workspace | None:
        tables = self.read(file)
        if tables is None:
            return None
        self.tables(file, tables, WORKSPACE_TABLES)
        self.gather(file, tables)
        about = self.model(file, "workspace", WorkspaceTable, tables.get("workspace"))
        sync = self.model(file, "sync", SyncSettings, tables.get("sync", {}))
        gorgias = self.account(file, "gorgias", "gorgias", tables.get("gorgias"))
        product, rest = self.product(file, tables.get("remote"))
        remote = self.account(file, "remote", product, rest) if product else None
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

    def names(self, workspaces: Sequence[Workspace]) -> None:
        counts = Counter(workspace.name for workspace in workspaces)
        for name, count in counts.items():
            if count > 1:
                files = [str(workspace.file) for workspace in workspaces if workspace.name == name]
                self.problem(Path(files[-1]), "workspace", "name", f'"{name}" is also the name in {files[0]}')

    # -- tables ---------------------------------------------------------------------------------------------------

    def tables(self, file: Path, tables: dict[str, Any], known: Sequence[str]) -> None:
        for name, content in tables.items():
            if name in known:
                continue
            if name in WORKSPACE_TABLES:
                reason = f"{SHARED_FILE} holds only {_listed(known)}; a workspace has a file of its own"
            else:
                reason = f"unknown {'table' if isinstance(content, dict) else 'key outside of a table'}"
            self.problems.append(f"{file}: [{name}]: {reason}{_near(name, known)}")

    def gather(self, file: Path, tables: dict[str, Any]) -> None:
        """Remember the daemon's tables of this file; a value that differs from another file's is a problem."""
        for table in DAEMON:
            content = tables.get(table, {})
            if not isinstance(content, dict):
                self.problems.append(f"{file}: [{table}]: must be a table")
                continue
            for key, written in content.items():
                value = _located(file, table, key, written)
                former, origin = self.daemon.setdefault((table, key), (value, file))
                if former != value:
                    self.problem(file, table, key, f"differs from the value in {origin}; one daemon has only one")

    def of_daemon(self, table: str, model: type[M], folder: Path) -> M | None:
        origins = {key: file for (name, key), (_, file) in self.daemon.items() if name == table}
        values = {key: value for (name, key), (value, _) in self.daemon.items() if name == table}
        file = next(iter(origins.values()), folder)
        return self.model(file, table, model, values, origins, folder)

    def product(self, file: Path, table: Any) -> tuple[str | None, dict[str, Any]]:
        """The connector that `[remote]` names, and the rest of the table, which is the connector's own."""
        if not isinstance(table, dict):
            self.problems.append(f"{file}: [remote]: {'is missing' if table is None else 'must be a table'}")
            return None, {}
        rest = {key: value for key, value in table.items() if key != "connector"}
        name, known = table.get("connector"), sorted(registry.names())
        if isinstance(name, str) and name in known:
            return name, rest
        if name is None:
            reason = f"is required: one of {_listed(known)}{_near(next(iter(rest), ''), ('connector',))}"
        else:
            reason = f"there is no such connector; known are {_listed(known)}{_near(str(name), known)}"
        self.problem(file, "remote", "connector", reason)
        return None, rest

    def account(self, file: Path, table: str, connector: str, values: Any) -> Any:
        return self.model(file, table, registry.connector_class(connector).Config, values)

    def model(
        self,
        file: Path,
        table: str,
        model: type[M],
        values: Any,
        origins: dict[str, Path] | None = None,
        folder: Path | None = None,
    ) -> M | None:
        if values is None:
            self.problems.append(f"{file}: [{table}]: is missing")
            return None
        if not isinstance(values, dict):
            self.problems.append(f"{file}: [{table}]: must be a table")
            return None
        try:
            return model.model_validate(values, context={"folder": folder or file.parent})
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_context=False, include_input=False):
                where = _place(detail["loc"], values, missing=detail["type"] == "missing")
                origin = (origins or {}).get(str(where[0]) if where else "", file)
                self.detail(origin, table, model, where, detail)
        return None

    def detail(self, file: Path, table: str, model: type[BaseModel], where: list[Any], detail: Any) -> None:
        reason = _reason(detail)
        if detail["type"] == "extra_forbidden":
            reason = "unknown key" + _suggestion(str(where[-1]), table, _model_at(model, where[:-1]))
        *parents, key = where or [""]
        while parents and isinstance(key, int):
            key = f"{parents.pop()}[{key}]"
        self.problem(file, ".".join([table, *map(str, parents)]), str(key), reason)

    def problem(self, file: Path, table: str, key: str, reason: str) -> None:
        self.problems.append(f"{file}: [{table}] {key}: {reason}" if key else f"{file}: [{table}]: {reason}")


# -- words ----------------------------------------------------------------------------------------------------------


def _located(file: Path, table: str, key: str, value: Any) -> Any:
    """The value, with a database file's name made absolute, so that equal text in two folders is seen to differ."""
    if (table, key) == ("store", "url") and isinstance(value, str) and value.startswith("sqlite:///"):
        return store_url(value, file.parent) if value != "sqlite:///" else value
    return value


def _reason(detail: Any) -> str:
    if detail["type"] == "missing":
        return "is required"
    text = str(detail["msg"]).removeprefix("Value error, ")
    return text[:1].lower() + text[1:] if detail["type"] != "value_error" else text


def _suggestion(key: str, table: str, model: type[BaseModel] | None) -> str:
    near = _near(key, _keys(model) if model else ())
    if near:
        return near
    homes = [name for name, other in (DAEMON | OWN).items() if key in _keys(other) and name != table]
    return f"; it belongs to [{homes[0]}]" if homes else ""


def _near(word: str, known: Iterable[str]) -> str:
    match = get_close_matches(word.lower(), tuple(known), n=1, cutoff=0.6)
    return f' (did you mean "{match[0]}"?)' if match else ""


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words) or "none"


def _keys(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in model.model_fields.items())


def _model_at(model: type[BaseModel] | None, path: Sequence[Any]) -> type[BaseModel] | None:
    """The model that validates the table at `path`, or None when that table has free keys."""
    for part in path:
        if model is None or isinstance(part, int):
            continue
        field = next((field for name, field in model.model_fields.items() if part in {name, field.alias}), None)
        model = _model_in(field.annotation) if field else None
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)


def _place(loc: Sequence[Any], values: Any, *, missing: bool) -> list[Any]:
    """Where in the file an error is: its place without the names of a union's branches, which stand nowhere."""
    where = []
    for part in loc:
        if isinstance(values, dict | list) and (
            part in values if isinstance(values, dict) else part in range(len(values))
        ):
            where.append(part)
            values = values[part]
    return [*where, loc[-1]] if missing else where
