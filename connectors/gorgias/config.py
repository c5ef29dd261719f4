"""What the `[gorgias]` table of a configuration may say."""

import contextlib
from datetime import datetime
from pathlib import Path
from typing import Self

from pydantic import Field as Option
from pydantic import ValidationInfo, field_validator, model_validator
from yarl import URL

from connectors.gorgias.tokens import Tokens
from syncd.connector import ConnectorConfig
from syncd.errors import ConfigError
from syncd.secret import SecretValue

#: Where attachments live besides the account's own host (inferred: the names seen in public samples).
ATTACHMENT_HOSTS = ("gorgias.com", "gorgias.io", "gorgi.us")


class OAuth(ConnectorConfig):
    """The `[gorgias.oauth]` table: an app instead of a user's key; its tokens are kept, and renewed, in a file."""

    client_id: str = Option(min_length=1)
    client_secret: SecretValue
    token_file: Path

    @field_validator("token_file")
    @classmethod
    def _beside_the_configuration(cls, value: Path, info: ValidationInfo) -> Path:
        folder: Path = (info.context or {}).get("folder", Path())
        return folder / value


class GorgiasConfig(ConnectorConfig):
    """The `[gorgias]` table: `subdomain`, or `base_url` for a sandbox, and the credentials of a user or an app."""

    subdomain: str | None = Option(default=None, pattern=r"^[A-Za-z0-9-]+$")
    base_url: str | None = Option(default=None, pattern=r"^https?://")
    email: str | None = Option(default=None, min_length=3)
    api_key: SecretValue | None = None
    oauth: OAuth | None = None
    views: tuple[int, ...] = ()
    rate_window: float = Option(default=20.0, gt=0)
    timeout: float = Option(default=60.0, gt=0)
    overlap: float = Option(default=120.0, ge=0)
    index_lag: float = Option(default=5.0, ge=0)
    attachment_hosts: tuple[str, ...] = ATTACHMENT_HOSTS
    attachments_from_private_hosts: bool = False
    allow_send: bool = False
    reply_from: str | None = Option(default=None, pattern=r"^[^@\s]+@[^@\s]+$")

    @field_validator("base_url")
    @classmethod
    def _plain_address(cls, value: str | None) -> str | None:
        url = URL(value or "http://none")
        if url.user or url.password or url.query or not url.host:
            raise ValueError("must be an address such as https://acme.gorgias.com, without a user or a query in it")
        return value

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.subdomain is None) == (self.base_url is None):
            raise ValueError("give either subdomain or base_url")
        return self

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.oauth and self.api_key:
            raise ValueError("give either email and api_key, or oauth")
        if not self.oauth and not self.api_key:
            raise ValueError("api_key is required (or the table oauth, for an app)")
        if not self.oauth and not self.email:
            raise ValueError("email is required: the user whose api_key it is")
        return self

    def credentials_end(self) -> datetime | None:
        """When an app's access token ends, unless it is renewed, which it is; a user's key does not end."""
        if self.oauth:
            with contextlib.suppress(ConfigError):
                return Tokens.read(self.oauth.token_file).expires_at
        return None

    @property
    def url(self) -> str:
        """The account's address, without a trailing slash."""
        return (self.base_url or f"https://{self.subdomain}.gorgias.com").rstrip("/").removesuffix("/api")
