"""Configuration files: what they become, and how each mistake in them is told."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from syncd import registry
from syncd.config import DAEMON, OWN, load
from syncd.errors import ConfigError
from syncd.problems import Problems
from syncd.settings import Settings, address, is_loopback, seconds, size

SECRET = "pl4nted-s3cret"


def content(**changes: Any) -> dict[str, Any]:
    """A small configuration; `changes` replace whole tables, None removes one."""
    tables: dict[str, Any] = {
        "workspace": {"name": "acme"},
        "gorgias": {"subdomain": "acme", "email": "ops@acme.example", "api_key": "a-gorgias-key"},
        "remote": {"connector": "memory", "desk": "acme"},
    }
    tables.update(changes)
    return {name: table for name, table in tables.items() if table is not None}


def toml(value: Any) -> str:
    """A value as TOML: what JSON writes, but for tables."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a configuration file and returns its path."""

    def writing(name: str = "acme.toml", /, **changes: Any) -> Path:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        lines = (f"{table} = {toml(value)}" for table, value in content(**changes).items())
        file.write_text("\n".join(lines), encoding="utf-8")
        return file

    return writing


def problems(*paths: Path) -> tuple[str, ...]:
    """What is wrong with these files, without the path before the file's name."""
    with pytest.raises(ConfigError) as raised:
        load(paths)
    return tuple(problem.replace(f"{paths[0].parent}/", "") for problem in raised.value.problems)


def test_a_small_file_gets_every_default(write: Write, tmp_path: Path) -> None:
    """Name, accounts and nothing else: the rest has sensible values."""
    settings = load([write()])
    (workspace,) = settings.workspaces
    assert (workspace.name, workspace.poll_interval, workspace.file.name) == ("acme", 15.0, "acme.toml")
    assert workspace.remote_connector == "memory"
    assert type(workspace.remote) is registry.connector_class("memory").Config
    assert type(workspace.gorgias) is registry.connector_class("gorgias").Config
    assert workspace.sync.direction == "both"
    assert workspace.sync.sweep_interval == 6 * 3600
    assert settings.store.url.get_secret_value() == f"sqlite:///{tmp_path}/syncd.db"
    assert (settings.http.host, settings.http.port, settings.http.token) == ("127.0.0.1", 8787, None)
    assert (settings.log.level, settings.log.format) == ("info", "auto")


def test_settings_cannot_be_changed(write: Write) -> None:
    """What was read stays as it was read."""
    settings = load([write()])
    with pytest.raises(ValueError, match="frozen"):
        settings.log.level = "debug"


def test_name_tables_take_a_word_or_a_list(write: Write) -> None:
    """A single word is a list of one; the order is kept."""
    sync = {"status": {"open": ["New", "Feedback"], "closed": "Closed"}, "fields": {"Order number": "Order"}}
    settings = load([write(sync=sync)]).workspaces[0].sync
    assert settings.status == {"open": ("New", "Feedback"), "closed": ("Closed",)}
    assert settings.fields == {"Order number": "Order"}


def test_an_account_takes_over_what_it_shares_with_sync(write: Write) -> None:
    """Whether anything may be mailed is said once, under [sync]; an account's own table can still say otherwise."""
    for sync, own, expected in (
        ({}, {}, (False, 120.0)),
        ({"allow_send": True, "overlap": "5m"}, {}, (True, 300.0)),
        ({"allow_send": True}, {"allow_send": False, "overlap": 60}, (False, 60.0)),
    ):
        account: Any = load([write(sync=sync, gorgias=content()["gorgias"] | own)]).workspaces[0].gorgias
        assert (account.allow_send, account.overlap) == expected


REMOTE = {"connector": "redmine", "url": "https://redmine.example", "api_key": "a-redmine-key", "project": "p"}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"workspace": None}, "acme.toml: [workspace]: is missing"),
        ({"workspace": {"nmae": "a"}}, 'acme.toml: [workspace] nmae: unknown key (did you mean "name"?)'),
        ({"workspace": {"poll_interval": 5}}, "acme.toml: [workspace] name: is required"),
        ({"workspace": {"name": "A:b"}}, "acme.toml: [workspace] name: string should match pattern"),
        ({"workspace": {"name": "a", "poll_interval": "5 x"}}, "acme.toml: [workspace] poll_interval: must be a durat"),
        ({"workspace": {"name": "a", "poll_interval": 0}}, "acme.toml: [workspace] poll_interval: input should be gre"),
        ({"workspace": {"name": "a", "on_delete": "close"}}, "on_delete: unknown key; it belongs to [sync]"),
        ({"gorgias": None}, "acme.toml: [gorgias]: is missing"),
        ({"gorgias": {"subdomain": "a", "emial": "a@b.example"}}, '[gorgias] emial: unknown key (did you mean "email"'),
        ({"remote": None}, "acme.toml: [remote]: is missing"),
        ({"remote": {"desk": "x"}}, "acme.toml: [remote] connector: is required; known are gorgias, memory, "),
        ({"remote": {"connector": "redmin"}}, "there is no such connector; known are gorgias, memory, "),
        ({"remote": {"connector": "redmin"}}, '(did you mean "redmine"?)'),
        ({"remote": {"connector": 7}}, "acme.toml: [remote] connector: there is no such connector"),
        ({"remote": REMOTE | {"projct": "x"}}, 'acme.toml: [remote] projct: unknown key (did you mean "project"?)'),
        ({"remote": REMOTE | {"url": "redmine"}}, "acme.toml: [remote] url: must be"),
        ({"remote": REMOTE | {"api_key": {"env": "NOT_SET_ANYWHERE"}}}, "api_key: the environment variable NOT_SET_"),
        ({"remote": REMOTE | {"api_key": {"vault": "x"}}}, "[remote] api_key: must be a string, { env ="),
        ({"remote": REMOTE | {"api_key": ""}}, "[remote] api_key: is empty"),
        (
            {"remote": REMOTE | {"api_key": {"file": "/nowhere/at/all"}}},
            "[remote] api_key: cannot read /nowhere/at/all",
        ),
        ({"store": {"url": "mysql://u:p@h/d"}}, "[store] url: must begin with sqlite:/// or postgresql://"),
        ({"store": {"url": "sqlite:///"}}, "[store] url: must name a file"),
        ({"store": {"url": "sqlite://x.db"}}, "[store] url: must name a file"),
        ({"store": {"url": "postgresql://[u:p@h/d"}}, "[store] url: is not a URL"),
        ({"store": {"url": "postgresql://h/d", "password": "p"}}, "[store] url: must name the user that the password"),
        ({"store": 7}, "acme.toml: [store]: must be a table"),
        (
            {"http": {"listen": "0.0.0.0:80"}},
            "[http] listen: is reachable from other machines, so [http] token must be",
        ),
        ({"http": {"listen": "8787"}}, "acme.toml: [http] listen: must be HOST:PORT"),
        ({"http": {"listen": "::1:8787"}}, "acme.toml: [http] listen: must be HOST:PORT"),
        ({"http": {"listen": "127.0.0.1:70000"}}, "acme.toml: [http] listen: must be HOST:PORT"),
        ({"log": {"level": "loud"}}, "acme.toml: [log] level: input should be 'debug', 'info', 'warning' or 'error'"),
        ({"sync": {"comments_to_gorgias": "public"}}, "so allow_send = true must be set too"),
        ({"sync": {"allow_send": "yes"}}, "acme.toml: [sync] allow_send: input should be a valid boolean"),
        ({"sync": {"status": {"open": []}}}, "acme.toml: [sync.status] open: must name at least one word"),
        (
            {"sync": {"status": {"open": ["New", 3]}}},
            "acme.toml: [sync.status] open[1]: input should be a valid string",
        ),
        ({"sync": {"fields": {"a": "x", "b": "x"}}}, 'acme.toml: [sync] fields: "x" stands for more than one field'),
        ({"sync": {"max_attachment": "20 apples"}}, "acme.toml: [sync] max_attachment: must be a size"),
        ({"sync": {"guard_share": 1.5}}, "acme.toml: [sync] guard_share: input should be less than or equal to 1"),
        ({"sync": []}, "acme.toml: [sync]: must be a table"),
        ({"snyc": {}}, 'acme.toml: [snyc]: unknown table (did you mean "sync"?)'),
        ({"name": "acme"}, "acme.toml: [name]: unknown key outside of a table"),
    ],
)
def test_a_mistake_is_told_with_file_table_and_key(write: Write, changes: dict[str, Any], problem: str) -> None:
    """Each message leads to the line to mend and says what to put there."""
    assert any(problem in found for found in problems(write(**changes)))


def test_all_problems_come_at_once(write: Write, tmp_path: Path) -> None:
    """Mistakes in several tables and files are reported in one go, each once."""
    one = write("one.toml", workspace={"nmae": "x"}, http={"listen": "x"}, sync={"overlap": -1, "dirction": 1})
    two = write("two.toml", remote={"connector": "nope"})
    found = problems(one, two, tmp_path / "three.toml")
    keys = [
        problem.partition("]")[0].replace("[", "") + problem.partition("]")[2].partition(":")[0] for problem in found
    ]
    assert keys == [
        "three.toml: there is no such file or folder",
        "one.toml: workspace name",
        "one.toml: workspace nmae",
        "one.toml: sync overlap",
        "one.toml: sync dirction",
        "two.toml: remote connector",
        "one.toml: http listen",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"[workspace]\nname = \n", "bad.toml: is not TOML: Invalid value (at line 2, column 8)"),
        (b"[workspace]\nname = 'a'\nname = 'b'\n", "bad.toml: is not TOML: Cannot overwrite a value (at line 3, col"),
        (b"[workspace]\nname = '\xff'\n", "bad.toml: is not UTF-8 text"),
    ],
)
def test_a_file_that_is_no_toml_is_told_with_its_line(tmp_path: Path, text: bytes, problem: str) -> None:
    """The parser's line and column are passed on."""
    file = tmp_path / "bad.toml"
    file.write_bytes(text)
    assert problems(file)[0].startswith(problem)


def test_a_byte_order_mark_is_no_mistake(write: Write) -> None:
    """Some editors put one at the beginning of every file."""
    file = write()
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert load([file]).workspaces


# -- folders ----------------------------------------------------------------------------------------------------------


def test_a_folder_holds_workspaces_and_what_they_share(write: Write, tmp_path: Path) -> None:
    """Every file but syncd.toml is a workspace; the store, the endpoints and the log are common."""
    write("a.toml", workspace={"name": "a"})
    write("b.toml", workspace={"name": "b"}, log={"level": "debug"})
    (tmp_path / "syncd.toml").write_text('[store]\nurl = "sqlite:///all.db"\n[log]\nlevel = "debug"\n')
    (tmp_path / "notes.txt").write_text("not ours")
    settings = load([tmp_path])
    assert [workspace.name for workspace in settings.workspaces] == ["a", "b"]
    assert settings.store.url.get_secret_value() == f"sqlite:///{tmp_path}/all.db"
    assert settings.log.level == "debug"


def test_a_file_of_a_folder_alone_has_the_same_store(write: Write, tmp_path: Path) -> None:
    """A command for one workspace must not begin with an empty store beside the daemon's."""
    (tmp_path / "syncd.toml").write_text('[store]\nurl = "sqlite:///all.db"\n')
    assert load([write()]).store.url.get_secret_value().endswith("/all.db")


def test_a_workspace_may_be_called_syncd_toml(write: Write) -> None:
    """Asked for by name, it is a workspace's file like any other."""
    assert load([write("syncd.toml")]).workspaces[0].name == "acme"


def test_the_shared_file_holds_no_workspace(write: Write, tmp_path: Path) -> None:
    """A table in the wrong file is told, and where it belongs."""
    write()
    (tmp_path / "syncd.toml").write_text("[sync]\n[loog]\n")
    assert problems(tmp_path / "acme.toml") == (
        "syncd.toml: [sync]: syncd.toml holds only store, http, log; a workspace has a file of its own",
        'syncd.toml: [loog]: unknown table (did you mean "log"?)',
    )


def test_one_daemon_has_one_value(write: Write, tmp_path: Path) -> None:
    """Two values for one key are told without either; equal text that means two files counts as two."""
    a = write("a.toml", workspace={"name": "a"}, http={"token": "token-number-one"}, store={"url": "sqlite:///x.db"})
    b = write("b.toml", workspace={"name": "b"}, http={"token": "token-number-two"})
    c = write("in/c.toml", workspace={"name": "c"}, store={"url": "sqlite:///x.db"})
    assert problems(a, b, c) == (
        f"b.toml: [http] token: differs from the value in {a}; one daemon has only one".replace(f"{tmp_path}/", ""),
        "in/c.toml: [store] url: differs from the value in a.toml; one daemon has only one",
    )


def test_a_problem_of_a_shared_value_names_its_file(write: Write, tmp_path: Path) -> None:
    """The message leads to the file that holds the key, not to the first one read."""
    a = write("a.toml", workspace={"name": "a"}, http={"listen": "0.0.0.0:1"})
    b = write("b.toml", workspace={"name": "b"}, http={"tokn": "x"})
    assert [problem.partition(":")[0] for problem in problems(a, b)] == ["a.toml", "b.toml"]


def test_two_workspaces_with_one_name(write: Write) -> None:
    """The second is told, with the file of the first."""
    a, b = write("a.toml"), write("b.toml")
    assert problems(a, b) == ('b.toml: [workspace] name: "acme" is also the name of the workspace in a.toml',)


def test_a_file_given_twice_is_read_once(write: Write, tmp_path: Path) -> None:
    """By itself and by its folder: it is one workspace."""
    assert len(load([write(), tmp_path, tmp_path / ".." / tmp_path.name]).workspaces) == 1


def test_a_folder_without_workspaces(tmp_path: Path) -> None:
    """There is nothing to do, which is a mistake."""
    (tmp_path / "empty").mkdir()
    assert problems(tmp_path / "empty") == ("empty: holds no workspace file (*.toml)",)


# -- secrets ----------------------------------------------------------------------------------------------------------


def test_secrets_come_from_where_they_are_kept(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment, file and systemd credential; the blank line at a file's end is not a part of it."""
    (tmp_path / "secret").write_text("from-file\n")
    monkeypatch.setenv("SYNCD_TEST_SECRET", "from-env")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    for reference, expected in (
        ({"env": "SYNCD_TEST_SECRET"}, "from-env"),
        ({"file": str(tmp_path / "secret")}, "from-file"),
        ({"credential": "secret"}, "from-file"),
        ("in-the-file", "in-the-file"),
    ):
        token = load([write(http={"token": reference})]).http.token
        assert token is not None
        assert token.get_secret_value() == expected


@pytest.mark.parametrize(
    ("store", "url"),
    [
        ({"url": "postgres://u@h/d"}, "postgresql://u@h/d"),
        (
            {"url": "postgresql://u:old@h:5/d?sslmode=require", "password": "p@/ß"},
            "postgresql://u:p%40%2F%C3%9F@h:5/d?sslmode=require",
        ),
        ({"url": {"env": "SYNCD_TEST_URL"}}, "postgresql://u:p@h/d"),
        ({"url": "sqlite:////var/lib/syncd/a.db"}, "sqlite:////var/lib/syncd/a.db"),
        ({"url": "sqlite:///:memory:"}, "sqlite:///:memory:"),
    ],
)
def test_the_store_url(write: Write, monkeypatch: pytest.MonkeyPatch, store: Mapping[str, Any], url: str) -> None:
    """A password is put in where it belongs, and a whole URL can be a secret."""
    monkeypatch.setenv("SYNCD_TEST_URL", "postgresql://u:p@h/d")
    assert load([write(store=store)]).store.url.get_secret_value() == url


def test_nothing_shows_a_secret(write: Write) -> None:
    """Neither printing the settings nor dumping them shows a key, a token or a database's password."""
    settings = load(
        [
            write(
                gorgias={"subdomain": "a", "email": "a@b.example", "api_key": SECRET},
                remote=REMOTE | {"api_key": SECRET},
                store={"url": f"postgresql://u:{SECRET}@h/d"},
                http={"token": SECRET},
            )
        ]
    )
    for text in (repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())):
        assert SECRET not in text


def _tables() -> list[tuple[str, str, type[BaseModel]]]:
    own = [(name, "memory", model) for name, model in (DAEMON | OWN).items()]
    remotes = [("remote", name, registry.connector_class(name).Config) for name in registry.names()]
    return [*own, ("gorgias", "memory", registry.connector_class("gorgias").Config), *remotes]


@pytest.mark.parametrize(("table", "connector", "model"), _tables(), ids=lambda value: str(value)[:20])
def test_no_message_shows_a_value(write: Write, table: str, connector: str, model: type[BaseModel]) -> None:
    """A secret that is pasted under any key, alone or inside something else, is in no message."""
    for name in model.model_fields:
        for value in (SECRET, [SECRET], {"env": "NOT_SET", "x": SECRET}, f"https://u:{SECRET}@[/"):
            changes = {"remote": {"connector": connector}, table: {name: value, "unknown": SECRET}}
            if table == "remote":
                changes["remote"]["connector"] = connector
            assert SECRET not in "\n".join(problems(write(**changes)))


# -- small parts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [(15, 15.0), (0.5, 0.5), ("15s", 15.0), ("500ms", 0.5), ("2m", 120.0), ("1.5 H", 5400.0), ("1d", 86400.0)],
)
def test_durations(value: Any, expected: float) -> None:
    """A number is seconds; text has a unit."""
    assert seconds(value) == expected


@pytest.mark.parametrize("value", ["15", "", "s", "-3s", "1h30m", True, None, float("nan"), float("inf"), "1w", "1e3s"])
def test_what_is_no_duration(value: Any) -> None:
    """Text without a unit is refused, because nobody can know what it means."""
    with pytest.raises(ValueError, match="must be a duration"):
        seconds(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(7, 7), ("7", 7), ("200KB", 200_000), ("20 mb", 20_000_000), ("1MiB", 1_048_576), ("1.5GB", 1_500_000_000)],
)
def test_sizes(value: Any, expected: int) -> None:
    """A number is bytes; text may have a unit, decimal or binary."""
    assert size(value) == expected


@pytest.mark.parametrize(
    ("listen", "host", "port", "loopback"),
    [
        ("127.0.0.1:1", "127.0.0.1", 1, True),
        ("localhost:0", "localhost", 0, True),
        ("[::1]:8787", "::1", 8787, True),
        ("[::]:8787", "::", 8787, False),
        ("syncd.example:80", "syncd.example", 80, False),
    ],
)
def test_addresses(listen: str, host: str, port: int, loopback: bool) -> None:
    """Host and port, and whether only this machine can come in."""
    assert address(listen) == (host, port)
    assert is_loopback(host) is loopback


class Proxy(BaseModel, extra="forbid"):
    """A table inside a stranger's table."""

    host: str
    port: int = 80


class Desk(BaseModel, extra="forbid"):
    """A stranger's table: an inner one, a list of them, and a choice."""

    proxy: Proxy | None = None
    more: list[Proxy] = []
    named: dict[str, str | list[str]] = {}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"proxy": {"hots": "x"}},
            ["[remote.proxy] host: is required", '[remote.proxy] hots: unknown key (did you mean "host"?)'],
        ),
        (
            {"more": [{"host": "x"}, {"host": "y", "prt": 1}]},
            ['[remote.more.1] prt: unknown key (did you mean "port"?)'],
        ),
        (
            {"named": {"a": ["x", 1]}},
            ["[remote.named] a: input should be a valid string", "[remote.named] a[1]: input should be a valid string"],
        ),
    ],
)
def test_a_mistake_in_an_inner_table(values: dict[str, Any], expected: list[str]) -> None:
    """The place is told as it stands in the file, whatever the model's unions call their branches."""
    found = Problems({})
    assert found.model("remote", Desk, values, Path("a.toml")) is None
    assert found.found == [f"a.toml: {problem}" for problem in expected]


def test_settings_can_be_made_without_a_file() -> None:
    """Tests and the demo build the same models directly."""
    settings = Settings.model_validate({"store": {"url": "sqlite:///x.db"}, "http": {}, "log": {}, "workspaces": ()})
    assert isinstance(settings.store.url, SecretStr)


def test_a_broken_connector_is_one_problem_among_others(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package whose connector cannot be imported is told with the table that names it."""
    info = tmp_path / "broken_desk-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-desk\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[syncd.connectors]\nbroken = no_such_module_anywhere:Connector\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = problems(write(remote={"connector": "broken"}, sync={"overlap": -1}))
    assert found[0].startswith("acme.toml: [sync] overlap")
    assert "acme.toml: [remote]" in found[1]
    assert "broken-desk 1.0" in found[1]
