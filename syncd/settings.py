"""What a configuration file may say: one model for each table, with its defaults and its limits.

The tables of the two accounts are not here: they belong to their connectors (`Connector.Config`).
"""

import ipaddress
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StrictBool,
    ValidationInfo,
    field_validator,
)

from syncd.connector import ConnectorConfig
from syncd.secret import SecretValue

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_AMOUNT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")


def seconds(value: Any) -> float:
    """A duration in seconds: a number, or text such as `500ms`, `15s`, `2m`, `6h`, `1d`."""
    return _amount(value, _SECONDS, str.lower, 'must be a duration such as "500ms", "15s", "2m", "6h" or "1d"')


def size(value: Any) -> int:
    """A size in bytes: a number, or text such as `200KB`, `20MB` or `20MiB`."""
    return int(_amount(value, _BYTES, str.upper, 'must be a size such as 1048576, "200KB", "20MB" or "20MiB"'))


def _amount(value: Any, units: Mapping[str, float], spelling: Any, reason: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    match = _AMOUNT.fullmatch(value) if isinstance(value, str) else None
    unit = units.get(spelling(match[2])) if match else None
    if match is None or unit is None:
        raise ValueError(reason)
    return float(match[1]) * unit


def _words(value: Any) -> Any:
    if value == []:
        raise ValueError("must name at least one word")
    return (value,) if isinstance(value, str) else value


Seconds = Annotated[float, BeforeValidator(seconds), Field(ge=0)]
Interval = Annotated[float, BeforeValidator(seconds), Field(ge=0.05)]
Size = Annotated[int, BeforeValidator(size), Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
#: The remote's words for one word of Gorgias: the first is written, all are read.
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
NameTable = Mapping[str, Words]


class Table(BaseModel):
    """The base of every table: unknown keys are errors, and a value never shows in a message."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class StoreSettings(Table):
    """`[store]`: where syncd keeps what it knows."""

    password: SecretValue | None = None
    url: SecretValue = Field(default=SecretStr("sqlite:///syncd.db"), validate_default=True)
    keep_history: Annotated[float, BeforeValidator(seconds), Field(ge=0, le=1e9)] = 180 * 86400.0

    @field_validator("url")
    @classmethod
    def _complete(cls, url: SecretStr, info: ValidationInfo) -> SecretStr:
        folder = (info.context or {}).get("folder", Path.cwd())
        return SecretStr(store_url(url.get_secret_value(), folder, info.data.get("password")))


def store_url(url: str, folder: Path, password: SecretStr | None = None) -> str:
    """The URL with its file found from `folder`, or with the password put in. Raises ValueError for other schemes."""
    scheme = url.partition(":")[0]
    if scheme == "sqlite":
        return _sqlite_url(url, folder)
    if scheme not in {"postgresql", "postgres"}:
        raise ValueError("must begin with sqlite:/// or postgresql://")
    try:
        parts = urlsplit("postgresql" + url.removeprefix(scheme))
    except ValueError:  # its message may show the password
        raise ValueError("is not a URL: postgresql://USER:PASSWORD@HOST/DATABASE") from None
    if password is None:
        return urlunsplit(parts)
    user, _, host = parts.netloc.rpartition("@")
    user = user.partition(":")[0]
    if not user:
        raise ValueError("must name the user that the password belongs to: postgresql://USER@HOST/DATABASE")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password.get_secret_value(), safe='')}@{host}"))


def _sqlite_url(url: str, folder: Path) -> str:
    path = url.removeprefix("sqlite:///")
    if path == url or not path:
        raise ValueError("must name a file: sqlite:///syncd.db, or sqlite:////var/lib/syncd/syncd.db")
    return url if path == ":memory:" else f"sqlite:///{(folder / path).absolute()}"


class HttpSettings(Table):
    """`[http]`: where health, metrics, hooks and the status page are served."""

    token: SecretValue | None = None
    listen: str = "127.0.0.1:8787"

    @field_validator("listen")
    @classmethod
    def _guarded(cls, listen: str, info: ValidationInfo) -> str:
        host, _ = address(listen)
        if not is_loopback(host) and info.data.get("token", True) is None:
            raise ValueError("is reachable from other machines, so [http] token must be set")
        return listen

    @property
    def host(self) -> str:
        """The address to bind."""
        return address(self.listen)[0]

    @property
    def port(self) -> int:
        """The port to bind; 0 takes a free one."""
        return address(self.listen)[1]


def address(listen: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT` or `[IPV6]:PORT`. Raises ValueError for anything else."""
    host, _, port = listen.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or (":" in host and bare == host) or not port.isdecimal() or int(port) > 65535:
        raise ValueError('must be HOST:PORT, such as "127.0.0.1:8787" or "[::1]:8787"')
    return bare, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: only this one is certain
        return host == "localhost"


class LogSettings(Table):
    """`[log]`: how much is logged, and in which form; `auto` is `console` on a terminal and `json` elsewhere."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class WorkspaceTable(Table):
    """`[workspace]`: what the workspace is called and how often it is looked after."""

    # No colon: the name is a part of markers, which are parted by colons.
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=63)
    poll_interval: Interval = 15.0


def _one_to_one(fields: Mapping[str, str]) -> Mapping[str, str]:
    names = list(fields.values())
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f'"{twice[0]}" stands for more than one field')
    return fields


class SyncSettings(Table):
    """`[sync]`: what is kept the same, in which direction, and when to stop and ask a person."""

    direction: Literal["both", "to_remote", "to_gorgias"] = "both"
    allow_send: StrictBool = False
    comments_to_gorgias: Literal["internal-note", "public"] = "internal-note"
    on_delete: Literal["close", "unlink", "delete"] = "close"
    tags: tuple[str, ...] = ()
    status: NameTable = Field(default_factory=dict)
    priority: NameTable = Field(default_factory=dict)
    users: NameTable = Field(default_factory=dict)
    teams: NameTable = Field(default_factory=dict)
    fields: Annotated[Mapping[str, str], AfterValidator(_one_to_one)] = Field(default_factory=dict)
    auto_fields: bool = True
    sweep_interval: Interval = 6 * 3600.0
    overlap: Seconds = 120.0
    max_attachment: Size = 20 * 10**6
    concurrency: int = Field(default=8, ge=1, le=256)
    grace_period: Seconds = 20.0
    guard_share: Share = 0.05
    guard_floor: int = Field(default=10, ge=0)
    listing_share: Share = 0.7
    loop_limit: int = Field(default=6, ge=1)
    loop_window: Interval = 600.0

    @field_validator("comments_to_gorgias")
    @classmethod
    def _may_send(cls, value: str, info: ValidationInfo) -> str:
        if value == "public" and info.data.get("allow_send", True) is False:
            raise ValueError(
                '"public" sends what is written on the remote to customers, so allow_send = true must be set too'
            )
        return value


class Workspace(Table):
    """One configuration file: a Gorgias account kept in step with one remote."""

    name: str
    poll_interval: float
    file: Path
    gorgias: ConnectorConfig
    remote: ConnectorConfig
    remote_connector: str
    sync: SyncSettings


class Settings(Table):
    """All that a daemon needs to know."""

    store: StoreSettings
    http: HttpSettings
    log: LogSettings
    workspaces: tuple[Workspace, ...]
