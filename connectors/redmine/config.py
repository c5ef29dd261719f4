"""The `[remote]` table of a Redmine account."""

from typing import Literal

from pydantic import ByteSize, Field, field_validator
from yarl import URL

from syncd.connector import ConnectorConfig
from syncd.secret import SecretValue

#: Redmine's own default for `attachment_max_size`, which no API tells.
MAX_ATTACHMENT = ByteSize(5120 * 1024)


class RedmineConfig(ConnectorConfig):
    """Where the issues are, and which of the project's custom fields hold what Redmine has no place for.

    A custom field is given by its name, or by its number where its name cannot be looked up. `private_files` sends the
    files of private notes, which Redmine shows to everybody who sees the issue.
    """

    url: str
    api_key: SecretValue
    project: str = Field(min_length=1)
    tracker: str | None = None
    only_tracker: bool = False
    marker_field: str = Field(default="External ID", min_length=1)
    tags_field: str | None = "Tags"
    team_field: str = "category"
    contact_field: str | None = None
    text_format: Literal["textile", "markdown", "plain"] = "textile"
    impersonate: bool = False
    private_files: bool = True
    max_attachment: ByteSize = Field(default=MAX_ATTACHMENT, gt=0)
    timeout: float = Field(default=60.0, gt=0)

    @field_validator("url")
    @classmethod
    def _is_web_address(cls, value: str) -> str:
        url = URL(value.strip())
        if url.scheme not in {"http", "https"} or not url.host or url.query_string or url.fragment or url.user:
            raise ValueError("must be Redmine's own address, such as https://redmine.example.com or …/redmine")
        return str(url).rstrip("/")

    @field_validator("tags_field", "contact_field", "tracker")
    @classmethod
    def _blank_is_none(cls, value: str | None) -> str | None:
        return (value or "").strip() or None
