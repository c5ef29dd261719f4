"""The tokens of an app, in a file that only its owner can read."""

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

from syncd.errors import ConfigError

#: Seconds (documented); an answer that says otherwise is believed.
LIFE = 24 * 3600
AGAIN = "connect it again: `syncd connect gorgias --oauth`"


@dataclass(frozen=True, slots=True)
class Tokens:
    """What an app holds for one account."""

    access: str
    refresh: str
    expires_at: datetime

    @classmethod
    def of(cls, answer: Mapping[str, Any], now: datetime, refresh: str = "") -> Self:
        """The tokens of an answer; one without a refresh token leaves the old one good. Raises KeyError, ValueError."""
        life = timedelta(seconds=float(answer.get("expires_in") or LIFE))
        return cls(str(answer["access_token"]), str(answer.get("refresh_token") or refresh), now + life)

    @classmethod
    def read(cls, file: Path) -> Self:
        """The stored tokens. Raises ConfigError."""
        try:
            doc = json.loads(file.read_text(encoding="utf-8"))
            return cls(doc["access_token"], doc["refresh_token"], datetime.fromisoformat(doc["expires_at"]))
        except FileNotFoundError as error:
            raise ConfigError([f"[gorgias.oauth] token_file: there is no {file}: {AGAIN}"]) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = getattr(error, "strerror", None) or "it holds no tokens"
            raise ConfigError([f"[gorgias.oauth] token_file: {file} cannot be read ({reason}): {AGAIN}"]) from error

    def write(self, file: Path) -> None:
        """Store them, for the owner's eyes only; never half. Raises OSError."""
        doc = {"access_token": self.access, "refresh_token": self.refresh, "expires_at": self.expires_at.isoformat()}
        write_secret(file, json.dumps(doc, indent=2) + "\n")


def write_secret(file: Path, text: str) -> None:
    """Write a file of mode 600, all of it or nothing. Raises OSError."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        Path(name).replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
