"""The `[remote]` table of a Roundup tracker."""

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field as Option
from pydantic import HttpUrl, field_validator

from syncd.connector import ConnectorConfig
from syncd.secret import SecretValue

FieldType = Literal["string", "number", "boolean", "date", "datetime", "enum"]


class RoundupConfig(ConnectorConfig):
    """How to reach the tracker and which of its properties hold what; `url` is where its front page is.

    `origin` is needed when the tracker's own address (`web` in its config.ini) is another one than `url`. `fields`
    names the properties of issues that are synced beside the built-in ones, with their types; an `enum` is a link.
    `private_property` and `tags_property` are "" where the tracker has no such thing.
    """

    url: HttpUrl
    user: str = Option(min_length=1)
    password: SecretValue
    origin: str | None = None
    marker_property: str = Option(default="external_id", min_length=1)
    private_property: str | None = "private"
    tags_property: str | None = "keyword"
    tags_class: str = Option(default="keyword", min_length=1)
    fields: Mapping[str, FieldType] = Option(default_factory=dict)
    markup: Literal["plain", "markdown"] = "plain"
    closed_statuses: Sequence[str] = ("resolved", "done-cbb")
    max_attachment: int | None = Option(default=25_000_000, ge=0)
    timeout: float = Option(default=60.0, gt=0)

    @field_validator("private_property", "tags_property")
    @classmethod
    def _absent(cls, value: str | None) -> str | None:
        return value or None
