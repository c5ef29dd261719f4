"""The failures of syncd, one class for each thing the caller does next.

SyncdError
├── ConfigError            a person must change the configuration; holds every problem at once
├── BadRequest             a call was wrong before it was sent; nothing happened
├── StoreError             the database cannot be used
│   ├── StoreTooNew        it was written by a newer syncd; upgrade the program
│   ├── StoreBusy          locked, full or away for a moment; try again
│   └── LeaseHeld          another daemon works on this workspace
├── GuardTripped           a pass wanted to do something that looks like an accident
└── AccountError           a product answered, or did not
    ├── TryLater           the same call may succeed later
    │   ├── RateLimited    after `retry_after` seconds
    │   └── OutcomeUnknown a write that may or may not have landed
    ├── Unauthorized       the whole side stops until a person acts
    ├── Forbidden          this object, or this action, is not ours to touch
    ├── Gone               the object is not there (any more)
    │   └── Moved          it lives on under another id (`to`)
    ├── VersionConflict    it changed since it was read; look again
    └── Refused            the product does not take this value
        └── TooLarge       it is bigger than the product takes
"""

from collections.abc import Iterable, Mapping
from typing import Self


class SyncdError(Exception):
    """Anything syncd raises on purpose; `hint` is the sentence that says what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message} ({self.hint})" if self.hint else message


class ConfigError(SyncdError):
    """The configuration cannot be used; `problems` lists every reason, each with file and key."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class BadRequest(SyncdError):
    """A call does not fit its schema and was not sent; `problems` lists every reason."""

    def __init__(self, message: str, problems: Iterable[str] = ()) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join((message, *(f"  - {problem}" for problem in self.problems))))


class StoreError(SyncdError):
    """The database cannot be used."""


class StoreTooNew(StoreError):
    """The database was written by a newer version of syncd."""


class StoreBusy(StoreError):
    """The database is locked, full or unreachable for the moment; nothing was written."""


class LeaseHeld(StoreError):
    """Another process already works on this workspace."""


class GuardTripped(SyncdError):
    """A pass was about to do something that looks like an accident, and stopped."""


class AccountError(SyncdError):
    """A product's answer that is not a success; `status` is the HTTP status, 0 when there was none."""

    def __init__(self, message: str, *, status: int = 0, detail: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.detail = detail
        #: What the product answered, word for word, for those who pass it on.
        self.headers: Mapping[str, str] = {}
        self.body = b""

    def with_answer(self, headers: Mapping[str, str], body: bytes) -> Self:
        """The same, with the answer that it stands for."""
        self.headers, self.body = headers, body
        return self


class TryLater(AccountError):
    """The call did not succeed, and the same call may succeed later; `retry_after` is in seconds."""

    def __init__(
        self, message: str, *, status: int = 0, detail: str = "", hint: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message, status=status, detail=detail, hint=hint)
        self.retry_after = retry_after


class RateLimited(TryLater):
    """The account's allowance is used up for now."""


class OutcomeUnknown(TryLater):
    """A write was sent and its answer was lost: it may have landed."""


class Unauthorized(AccountError):
    """The credentials are not accepted."""


class Forbidden(AccountError):
    """The credentials are good, and do not reach this."""


class Gone(AccountError):
    """There is no such object."""


class Moved(Gone):
    """The object was merged into another one, whose id is `to` (None when the answer does not say)."""

    def __init__(self, message: str, *, status: int = 301, detail: str = "", to: str | None = None) -> None:
        super().__init__(message, status=status, detail=detail)
        self.to = to


class VersionConflict(AccountError):
    """The object changed since it was read, or an identifier is taken."""


class Refused(AccountError):
    """The product understood the call and does not take it; `fields` names the culprits where it says so."""

    def __init__(
        self, message: str, *, status: int = 422, detail: str = "", hint: str = "", fields: Iterable[str] = ()
    ) -> None:
        super().__init__(message, status=status, detail=detail, hint=hint)
        self.fields = tuple(fields)


class TooLarge(Refused):
    """The product does not take anything this big."""
