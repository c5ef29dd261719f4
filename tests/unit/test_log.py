"""The log: one shape for everybody's records, no secret in any of them, outages told once."""

import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest
import structlog
from pydantic import BaseModel, SecretStr

from syncd import log

SECRET = "s3cr3t-of-the-account"


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, object]]]]:
    """Configures JSON logging into a buffer; calling it gives the lines so far."""
    root = logging.getLogger()
    former, level = list(root.handlers), root.level
    stream = io.StringIO()
    log.configure("info", "json", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = former
    root.setLevel(level)
    structlog.reset_defaults()


def test_own_and_library_records_have_one_shape(lines: Callable[[], list[dict[str, object]]]) -> None:
    """A line of ours and a line of a library carry the same keys, bound names included."""
    with log.bound(workspace="acme", ticket="7"):
        log.get("syncd.x").info("written", side="remote")
        logging.getLogger("sqlalchemy.pool").warning("pool %s", "full")
    ours, theirs = lines()
    assert ours["event"] == "written"
    assert theirs["event"] == "pool full"
    for line in (ours, theirs):
        assert line["workspace"] == "acme"
        assert line["ticket"] == "7"
        assert {"timestamp", "level", "logger"} <= set(line)


def test_talkative_libraries_are_quiet(lines: Callable[[], list[dict[str, object]]]) -> None:
    """A library's INFO about each step is left out, and debug is left out at level info."""
    logging.getLogger("apscheduler.executors.default").info("Running job")
    log.get("syncd.x").debug("detail")
    assert lines() == []


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        (f"sent {SECRET}", {}),
        ("sent", {"answer": {"deep": [{"text": f"x{SECRET}y"}]}}),
        ("sent", {"headers": {"Authorization": "Basic dXNlcjpwdw=="}}),
        ("sent", {"api_key": "anything-at-all"}),
        ("Authorization: Bearer anything-at-all", {}),
        ('{"api_key": "anything-at-all"}', {}),
        ("postgresql://syncd:anything-at-all@db/syncd", {}),
        ("sent", {"error": ValueError(f"no {SECRET}")}),
    ],
)
def test_secrets_are_masked(
    lines: Callable[[], list[dict[str, object]]], event: str, fields: dict[str, object]
) -> None:
    """A registered secret, and whatever looks like one, shows nowhere in a line."""
    log.hide(SecretStr(SECRET))
    log.get("syncd.x").info(event, **fields)
    text = json.dumps(lines())
    assert log.MASK in text
    for planted in (SECRET, "dXNlcjpwdw", "anything-at-all"):
        assert planted not in text


def _refuse(token: str) -> None:
    try:
        {}[SECRET]
    except KeyError as error:
        raise RuntimeError(f"refused {SECRET}") from error


@pytest.mark.parametrize("form", ["json", "console"])
def test_exceptions_keep_no_secret_and_no_locals(form: str) -> None:
    """A traceback names the failure and its cause, without the secret in its text and without local variables."""
    stream = io.StringIO()
    log.configure("info", form, stream)
    log.hide(SECRET)
    try:
        _refuse("value-" + "of-a-local")
    except RuntimeError:
        log.get("syncd.x").exception("failed")
    text = stream.getvalue()
    assert "RuntimeError" in text
    assert "KeyError" in text
    assert SECRET not in text
    assert "value-of-a-local" not in text


def test_hide_all_finds_secrets_at_any_depth(lines: Callable[[], list[dict[str, object]]]) -> None:
    """Every secret of nested settings is masked; of a database URL the password is, the rest is not."""

    class Inner(BaseModel):
        key: SecretStr
        urls: tuple[SecretStr, ...]

    class Outer(BaseModel):
        inner: dict[str, Inner]

    inner = Inner(key=SecretStr("key-one"), urls=(SecretStr("postgresql://u:pw%40-two@h/db"),))
    log.hide_all(Outer(inner={"a": inner}))
    log.get("syncd.x").info("key-one pw@-two pw%40-two", where="h/db")
    assert lines()[0]["event"] == "*** *** ***"
    assert lines()[0]["where"] == "h/db"


def test_any_value_can_be_written(lines: Callable[[], list[dict[str, object]]]) -> None:
    """Huge numbers, lone surrogates and odd objects make a line, not an error."""
    log.get("syncd.x").info("odd", big=2**70, text="\ud800", what=object, names={1: {"x"}}, none=None)
    (line,) = lines()
    assert line["big"] == str(2**70)
    assert line["names"] == {"1": ["x"]}


def test_auto_is_console_on_a_terminal_only() -> None:
    """The form `auto` writes text to a terminal and JSON to anything else."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, is_json in ((Terminal(), False), (io.StringIO(), True)):
        log.configure("info", "auto", stream)
        log.get("syncd.x").info("hello")
        assert stream.getvalue().startswith("{") is is_json


def test_an_outage_is_logged_at_its_start_and_at_its_end(lines: Callable[[], list[dict[str, object]]]) -> None:
    """Many failures of one key make two lines: the first failure, and the recovery with count and duration."""
    now = [100.0]
    transitions = log.Transitions(log.get("syncd.x"), clock=lambda: now[0])
    assert transitions.failed("remote", "side is down", "401")
    now[0] = 130.0
    assert not transitions.failed("remote", "side is down", "401")
    assert "remote" in transitions
    assert transitions["remote"].reason == "401"
    assert transitions.recovered("remote", "side is up")
    assert not transitions.recovered("remote", "side is up")
    assert list(transitions) == []
    first, last = lines()
    assert (first["event"], first["error"], first["level"]) == ("side is down", "401", "warning")
    assert (last["event"], last["failures"], last["seconds"]) == ("side is up", 2, 30.0)
