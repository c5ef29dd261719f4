"""What the `[gorgias]` table of a configuration may say."""

from typing import Self

from pydantic import Field as Option
from pydantic import field_validator, model_validator
from yarl import URL

from syncd.connector import ConnectorConfig
from syncd.secret import SecretValue

#: Where attachments live besides the account's own host (inferred: the names seen in public samples).
ATTACHMENT_HOSTS = ("gorgias.com", "gorgias.io", "gorgi.us")


class GorgiasConfig(ConnectorConfig):
    """The `[gorgias]` table: `subdomain`, or `base_url` for a sandbox, and the credentials of one user."""

    subdomain: str | None = Option(default=None, pattern=r"^[A-Za-z0-9-]+$")
    base_url: str | None = Option(default=None, pattern=r"^https?://")
    email: str = Option(min_length=3)
    api_key: SecretValue
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

    @property
    def url(self) -> str:
        """The account's address, without a trailing slash."""
        return (self.base_url or f"https://{self.subdomain}.gorgias.com").rstrip("/").removesuffix("/api")
