"""Secrets by reference: a string, `{ env = "NAME" }`, `{ file = "path" }` or `{ credential = "NAME" }` (systemd)."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import SecretStr, ValidationInfo, ValidatorFunctionWrapHandler, WrapValidator

KINDS = ("env", "file", "credential")


class Reference(SecretStr):
    """A secret that is kept elsewhere, and may be another one tomorrow."""

    def __init__(self, read: Callable[[], str]) -> None:
        super().__init__(read())
        self._read = read

    def now(self) -> "SecretStr":
        """The secret as it is kept now; what this one holds, when it cannot be read any more."""
        try:
            return SecretStr(self._read() or self.get_secret_value())
        except ValueError:
            return self


def current(secret: SecretStr) -> SecretStr:
    """The secret as it is now, wherever it is kept."""
    return secret.now() if isinstance(secret, Reference) else secret


def resolve(value: Any, info: ValidationInfo | None = None) -> SecretStr:
    """The secret that a configuration value stands for. Raises ValueError with what to do when there is none.

    A relative file is found from the configuration's folder.
    """
    if isinstance(value, SecretStr):
        return value
    if isinstance(value, str):
        secret = SecretStr(value)
    elif isinstance(value, dict) and len(value) == 1 and next(iter(value)) in KINDS:
        kind, name = next(iter(value.items()))
        folder = ((info.context if info else None) or {}).get("folder", Path())
        secret = Reference(partial(_read, kind, str(name), folder))
    else:
        raise ValueError('must be a string, { env = "NAME" }, { file = "path" } or { credential = "NAME" }')
    if not secret.get_secret_value():
        raise ValueError("is empty")
    return secret


def _read(kind: str, name: str, folder: Path) -> str:
    if kind == "env":
        if name not in os.environ:
            raise ValueError(f"the environment variable {name} is not set")
        return os.environ[name].strip()
    path = folder / name
    if kind == "credential":
        credentials = os.environ.get("CREDENTIALS_DIRECTORY")
        if not credentials:
            raise ValueError(
                f"credential {name}: CREDENTIALS_DIRECTORY is not set (LoadCredential= in the systemd unit)"
            )
        path = Path(credentials) / path.name
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}") from error


def _resolved(value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> SecretStr:
    secret = resolve(value, info)
    handler(secret)  # which would forget where it comes from
    return secret


#: A configuration value that never shows in a message, a dump or a log.
SecretValue = Annotated[SecretStr, WrapValidator(_resolved)]
