"""Secrets by reference: a string, `{ env = "NAME" }`, `{ file = "path" }` or `{ credential = "NAME" }` (systemd)."""

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Secret, SecretStr

KINDS = ("env", "file", "credential")


def resolve(value: Any) -> Any:
    """The secret that a configuration value stands for. Raises ValueError with what to do when there is none."""
    if isinstance(value, Secret | SecretStr):
        return value
    if isinstance(value, str):
        secret = value
    elif isinstance(value, dict) and len(value) == 1 and next(iter(value)) in KINDS:
        kind, name = next(iter(value.items()))
        secret = _read(kind, str(name))
    else:
        raise ValueError('must be a string, { env = "NAME" }, { file = "path" } or { credential = "NAME" }')
    if not secret:
        raise ValueError("is empty")
    return secret


def _read(kind: str, name: str) -> str:
    if kind == "env":
        if name not in os.environ:
            raise ValueError(f"the environment variable {name} is not set")
        return os.environ[name].strip()
    path = Path(name)
    if kind == "credential":
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise ValueError(
                f"credential {name}: CREDENTIALS_DIRECTORY is not set (LoadCredential= in the systemd unit)"
            )
        path = Path(folder) / path.name
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}") from error


#: A configuration value that never shows in a message, a dump or a log.
SecretValue = Annotated[SecretStr, BeforeValidator(resolve)]
