"""Structured logging: one JSON object a line on stderr, or text on a terminal, the same for every library's records.

Names that run through everything a task logs (`workspace`, `ticket`, `side`) are bound with `bound`. Known secrets, and
whatever stands under a key or in a header that looks like one, are masked in events and in exceptions.
"""

import logging
import re
import sys
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TextIO, cast
from urllib.parse import quote, unquote, urlsplit

import orjson
import stamina.instrumentation
import structlog
from pydantic import BaseModel, SecretStr
from structlog.contextvars import bound_contextvars
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

MASK = "***"
#: Shorter than this, a "secret" would be found in every other word.
SHORTEST = 4
#: Libraries that report every step at INFO; their warnings are wanted.
TALKATIVE = ("aiohttp.access", "apscheduler", "alembic", "mcp", "sqlalchemy")

_SECRET_KEY = re.compile(r"(?i)authorization|api[_-]?key|passw(or)?d|secret|token|cookie|credential")
_SECRET_TEXT = re.compile(
    r"(?i)((?:authorization|api[_-]?key|passw(?:or)?d|secret|token)[\"']?\s*[:=]\s*[\"']?(?:(?:basic|bearer)\s+)?)"
    r"[^\s\"',;&}\])]+"
)
_SCHEME_TEXT = re.compile(r"(?i)\b((?:basic|bearer)\s+)[a-z0-9+/_.=~-]{8,}")
_URL_PASSWORD = re.compile(r"(\w://[^\s/:@]*:)[^\s/@]+(?=@)")

bound = bound_contextvars


class _Secrets:
    """The values that must never be written; one pattern finds them all."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, value: str) -> None:
        if len(value) >= SHORTEST:
            self._values |= {value, quote(value, safe="")}
            longest_first = sorted(self._values, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def mask(self, text: str) -> str:
        if self._pattern:
            text = self._pattern.sub(MASK, text)
        for pattern in (_SECRET_TEXT, _SCHEME_TEXT, _URL_PASSWORD):
            text = pattern.sub(rf"\g<1>{MASK}", text)
        return text


_secrets = _Secrets()


def hide(secret: SecretStr | str | None) -> None:
    """Mask this value wherever it would be logged from now on; of a URL only the password is a secret."""
    value = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
    if not value:
        return
    if "://" in value:
        hide(unquote(urlsplit(value).password or ""))
    else:
        _secrets.add(value)


def hide_all(settings: Any) -> None:
    """Mask every secret that these settings hold, however deep."""
    if isinstance(settings, SecretStr):
        hide(settings)
    elif isinstance(settings, BaseModel):
        for name in type(settings).model_fields:
            hide_all(getattr(settings, name))
    elif isinstance(settings, Mapping):
        hide_all(list(settings.values()))
    elif isinstance(settings, list | tuple | set | frozenset):
        for value in settings:
            hide_all(value)


def masked(text: str) -> str:
    """The text without any secret: for what is shown elsewhere than in the log."""
    return _secrets.mask(text)


def configure(level: str = "info", form: str = "auto", stream: TextIO | None = None) -> None:
    """Send everything that is logged, by us and by libraries, to `stream` (stderr) in one form.

    `form` is `json`, `console`, or `auto`: console on a terminal, else json. Calling it again changes both.
    """
    stream = stream or sys.stderr
    console = form == "console" or (form == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(console, stream)],
        )
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    _redirect_libraries(handler, level)


def _rendering(console: bool, stream: TextIO) -> list[Processor]:
    if console:
        renderer = structlog.dev.ConsoleRenderer(colors=stream.isatty(), sort_keys=False)
        return [ExceptionRenderer(), _clean_event, renderer]
    # Without show_locals=False a traceback carries local variables, and with them tokens.
    exceptions = ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
    return [exceptions, _clean_event, structlog.processors.JSONRenderer(_dumps)]


def _redirect_libraries(handler: logging.Handler, level: str) -> None:
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    quiet = max(root.level, logging.WARNING) if root.level > logging.DEBUG else logging.INFO
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(quiet)
    logging.captureWarnings(True)
    # A retry is no news: it shows in the metrics, and what fails in the end is logged by its caller.
    stamina.instrumentation.set_on_retry_hooks(())


def _dumps(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _clean_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    return {key: _clean(value, key) for key, value in event.items()}


def _clean(value: Any, key: object = "") -> Any:
    """A value as it may be written: without secrets, and of types that every renderer knows."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(key, str) and _SECRET_KEY.search(key):
        return MASK
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, Mapping):
        return {str(name): _clean(inner, name) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(inner) for inner in value]
    # A lone surrogate, as a product may send it, cannot be written as UTF-8.
    return _secrets.mask(str(value).encode("utf-8", "replace").decode())


def get(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module."""
    return cast("structlog.stdlib.BoundLogger", structlog.get_logger(name))


@dataclass(slots=True)
class Outage:
    """Something that fails since a moment: how often it did, and the first reason."""

    since: float
    reason: str
    count: int = 1


@dataclass(slots=True)
class Transitions:
    """Logs the first failure of a key and its recovery, and nothing in between."""

    logger: Any
    clock: Callable[[], float] = time.monotonic
    _outages: dict[Hashable, Outage] = field(default_factory=dict)

    def failed(self, key: Hashable, event: str, error: object = "", **details: Any) -> bool:
        """Count a failure; True when it is the first, which is the one that is logged."""
        if outage := self._outages.get(key):
            outage.count += 1
            return False
        self._outages[key] = Outage(self.clock(), masked(str(error)))
        self.logger.warning(event, error=str(error), **details)
        return True

    def recovered(self, key: Hashable, event: str, **details: Any) -> bool:
        """End an outage; True when there was one, which is logged with its length."""
        outage = self._outages.pop(key, None)
        if outage is None:
            return False
        seconds = round(self.clock() - outage.since, 3)
        self.logger.info(event, failures=outage.count, seconds=seconds, **details)
        return True

    def __contains__(self, key: object) -> bool:
        return key in self._outages

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._outages)

    def __getitem__(self, key: Hashable) -> Outage:
        return self._outages[key]
