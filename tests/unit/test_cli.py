"""The commands in processes of their own: what they print, what they write, and how they end."""

import asyncio
import json
import os
import pty
import re
import signal
import sqlite3
from collections.abc import Coroutine
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from tests.processes.command import Done
from tests.processes.shop import AGENTS, Shop

KEY = "redmine-key-5c4b3a"
#: Commands that only look.
LOOKING = ("status", "parked", "conflicts")


def fill(shop: Shop) -> int:
    """Two tickets; the second has a note, a tag and an attachment, and is returned."""
    shop.sandbox.create_ticket("Broken lamp", "It does not glow.")
    gid = shop.sandbox.create_ticket("Where is my order?", "Three weeks!")
    shop.sandbox.note(gid, "Ask the warehouse", by=AGENTS[0], attachments=[attached(shop, "label.txt", b"to Kyoto")])
    shop.sandbox.add_tags(gid, "late")
    return gid


def attached(shop: Shop, name: str, content: bytes) -> dict[str, Any]:
    """A file of a message."""
    return dict(shop.sandbox.attach(name, "text/plain", content))


def said(done: Done) -> str:
    """Everything that was printed; no traceback is."""
    text = done.out + done.err
    assert "Traceback" not in text, text
    assert "exc_info" not in text, text
    return text


# -- check ------------------------------------------------------------------------------------------------------------


async def test_check_names_every_problem_with_file_and_key(shop: Shop) -> None:
    """All at once, in all files, for people and as JSON."""
    good, bad = shop.config(), shop.config("other", redmine="ftp://x", sync='directoin = "both"\non_delete = "burn"')
    told = await shop.syncd("check", good, bad)
    assert told.code == 2
    problems = told.err.splitlines()
    assert len(problems) == 3
    assert all(f"{bad}: [" in line for line in problems)
    assert [key for key in ("[remote] url", "[sync] directoin", "[sync] on_delete") if key not in told.err] == []
    assert 'did you mean "direction"' in told.err
    as_json = await shop.syncd("check", good, bad, "--json")
    assert (as_json.code, len(as_json.json["problems"])) == (2, 3)


async def test_check_of_a_right_file_needs_nobody(shop: Shop) -> None:
    """Without --live no call is made, and a right file is right."""
    told = await shop.syncd("check", shop.config())
    assert (told.code, told.out) == (0, "configuration: 1 workspace, no problems in the files\n")
    assert shop.gorgias.calls + shop.remote.calls == []


async def test_check_live_tells_what_is_wrong_at_the_products(shop: Shop) -> None:
    """A wrong key on either side, a project and a field that are not there: each with what to do."""
    wrong = {
        "right": {},
        "gorgias-key": {"gorgias_key": "wrong-key"},
        "redmine-key": {"redmine_key": "wrong-key"},
        "project": {"project": "nowhere"},
        "marker": {"remote": 'marker_field = "Nowhere"'},
        "names": {
            "sync": '[sync.status]\nopen = ["New", "Newish"]\nsolved = "Closed"\n[sync.priority]\nlow = "Lowest"\n'
            '[sync.users]\n"nobody@acme.example" = "Alice Agent"\n[sync.fields]\n"Severity" = "Severe"'
        },
    }
    files = {name: shop.config(name, **options) for name, options in wrong.items()}
    runs = [shop.syncd("check", file, "--live", "--json") for file in files.values()]
    done = dict(zip(files, await asyncio.gather(*runs), strict=True))
    assert {name: one.code for name, one in done.items()} == {name: 0 if name == "right" else 2 for name in wrong}
    bad = {
        name: [f"{row['side']} {row['what']}: {row['hint']}" for row in one.json["findings"] if not row["ok"]]
        for name, one in done.items()
    }
    assert "gorgias credentials" in bad["gorgias-key"][0]
    assert "api_key" in bad["gorgias-key"][0]
    assert bad["redmine-key"] == [line for line in bad["redmine-key"] if "API key" in line and "My account" in line]
    assert "identifier" in bad["project"][0]
    assert "'Nowhere'" in bad["marker"][0]
    assert "Custom fields" in bad["marker"][0]
    words = ("'Newish'", "'solved'", "'Lowest'", "'nobody@acme.example'", "'Severe'")
    assert [word for word in words if sum(word in line for line in bad["names"]) != 1] == []
    assert all(str(files["names"]) in line for line in bad["names"])
    assert 'did you mean "new"' in " ".join(bad["names"])
    assert not any("Traceback" in one.err for one in done.values())


# -- plan -------------------------------------------------------------------------------------------------------------


async def test_plan_writes_nothing_anywhere(shop: Shop) -> None:
    """No database is made for it, no write reaches a product, and what it names is what `once` then does."""
    fill(shop)
    await shop.people.create("Pump leaks", "Drip.")
    shop.remote.calls.clear()
    config = shop.config()
    planned = await shop.syncd("plan", config, "--json")
    assert planned.code == 0, said(planned)
    assert (shop.gorgias.writes(), shop.remote.writes()) == ([], [])
    assert sorted(path.name for path in shop.folder.glob("syncd.db*")) == []
    (found,) = planned.json
    made = {write["ticket"]: (write["side"], write["what"]) for write in found["writes"] if write["kind"] == "create"}
    assert {ticket: side for ticket, (side, _) in made.items()} == {
        "the copy of Gorgias ticket 1001": "remote",
        "the copy of Gorgias ticket 1002": "remote",
        "the copy of Redmine ticket 1": "gorgias",
    }
    _, what = made["the copy of Gorgias ticket 1002"]
    assert (what["subject"], what["tags"]) == ("Where is my order?", ["late"])
    done = await shop.once("--json")
    assert sum(done.json[0]["writes"].values()) >= len(found["writes"])


async def test_plan_lists_changes_field_by_field_and_leaves_the_database(shop: Shop) -> None:
    """Old and new value of each field, tags, comments; the database is the same afterwards."""
    gid = fill(shop)
    config = shop.config()
    await shop.once()
    shop.move(5)
    shop.sandbox.set_subject(gid, "Where is my parcel?", by=AGENTS[0])
    shop.sandbox.add_tags(gid, "vip")
    shop.sandbox.note(gid, "Found it", by=AGENTS[0])
    before = shop.dump()
    shop.gorgias.calls.clear()
    shop.remote.calls.clear()
    planned = await shop.syncd("plan", config)
    assert planned.code == 0, said(planned)
    assert (shop.gorgias.writes(), shop.remote.writes()) == ([], [])
    assert shop.dump() == before
    wanted = ("subject: 'Where is my order?' → 'Where is my parcel?'", "add tags: vip", "'Found it', internal")
    assert [line for line in wanted if line not in planned.out] == []
    assert re.search(r"^acme: Redmine ticket \d+$", planned.out, re.MULTILINE)
    assert [line for line in planned.log if line["event"] == "pass"] == []


async def test_plan_says_when_a_side_cannot_be_read(shop: Shop) -> None:
    """The other workspaces are planned all the same; the exit code is 1."""
    fill(shop)
    good, bad = shop.config(), shop.config("broken", redmine_key="wrong-key")
    planned = await shop.syncd("plan", good, bad, "--json")
    by_name = {found["workspace"]: found for found in planned.json}
    assert planned.code == 1
    assert (len(by_name["acme"]["problems"]), len(by_name["broken"]["problems"])) == (0, 1)
    assert len(by_name["acme"]["writes"]) >= 2


# -- once and what looks at the result --------------------------------------------------------------------------------


async def test_once_makes_both_sides_equal_and_then_writes_nothing(shop: Shop) -> None:
    """The second run only reads; standard output is JSON alone, logs are on standard error."""
    fill(shop)
    await shop.people.create("Pump leaks", "Drip.")
    shop.config()
    first = await shop.once("--json")
    assert first.json[0]["in_step"] is True
    assert shop.subjects()[0] == shop.subjects()[1] == ["Broken lamp", "Pump leaks", "Where is my order?"]
    shop.gorgias.calls.clear()
    shop.remote.calls.clear()
    second = await shop.once("--json")
    assert second.json[0]["writes"] == {}
    assert (shop.gorgias.writes(), shop.remote.writes()) == ([], [])
    assert {line["workspace"] for line in first.events_of("pass")} == {"acme"}
    assert shop.sandbox.outbox == []


async def test_reports_of_a_workspace_in_step(shop: Shop) -> None:
    """Each of them prints JSON that parses, and a sentence for people."""
    gid = fill(shop)
    config = shop.config()
    await shop.once()
    reports = await asyncio.gather(*(shop.syncd(word, config, "--json") for word in LOOKING))
    status, parked, conflicts = (report.json for report in reports)
    assert {report.code for report in reports} == {0}
    assert (status[0]["links"], status[0]["dirty"], status[0]["worked_on_by"]) == (2, 0, None)
    assert set(status[0]["read_until"]) == {"gorgias.events", "gorgias.tickets", "remote.issues"}
    assert (parked, conflicts) == ([], [])
    told = await asyncio.gather(*(shop.syncd(word, config) for word in LOOKING))
    assert [text in one.out for text, one in zip(("acme", "nothing is parked", "no conflicts"), told, strict=True)]
    (explained,) = (await shop.syncd("explain", str(gid), config, "--json")).json
    assert explained["would"] == explained["waits"] == []
    assert any("Both are in step" in sentence for sentence in explained["sentences"])


async def test_reports_before_the_first_pass_make_no_database(shop: Shop) -> None:
    """They say that there is none yet, and what makes it."""
    config = shop.config()
    for word in LOOKING:
        done = await shop.syncd(word, config)
        assert (done.code, done.out) == (1, "")
        assert "does not exist yet" in done.err
        assert "syncd once" in done.err
    assert list(shop.folder.glob("syncd.db*")) == []


async def test_a_parked_write_is_said_mended_and_tried_again(shop: Shop) -> None:
    """Exit code 3; `parked` says the tickets, what, why and what to do; after the mending `retry` brings it over."""
    gid = fill(shop)
    config = shop.config()
    await shop.once()
    shop.redmine.dropped.add("subject")
    shop.move(5)
    shop.sandbox.set_subject(gid, "Renamed", by=AGENTS[0])
    done = await shop.once(code=3)
    assert "1 parked (syncd parked)" in done.out
    told = await shop.syncd("parked", config)
    assert re.search(rf"^acme: Gorgias ticket {gid} = Redmine ticket \d+$", told.out, re.MULTILINE)
    assert "syncd could not set 'subject' in Redmine" in told.out
    assert "because redmine kept 'Where is my order?'" in told.out
    assert "→ " in told.out
    (row,) = (await shop.syncd("parked", config, "--json")).json
    assert (row["ticket"], row["what"], row["says"]) == (str(gid), "remote:subject", "set 'subject' in Redmine")
    (explained,) = (await shop.syncd("explain", str(gid), config, "--json")).json
    assert "a person must act before syncd can set 'subject' in Redmine" in explained["waits"][0]
    assert (await shop.once(code=3)).code == 3
    shop.redmine.dropped.clear()
    retried = await shop.syncd("retry", config)
    assert retried.out == "acme: 1 ticket will be looked at by the next pass\n"
    await shop.once()
    assert "Renamed" in shop.subjects()[1]


async def test_a_conflict_is_told_with_both_values(shop: Shop) -> None:
    """Who won and why, in words."""
    gid = fill(shop)
    config = shop.config()
    await shop.once()
    shop.move(5)
    number = next(str(i["id"]) for i in shop.redmine.issues.values() if i["subject"] == "Where is my order?")
    shop.sandbox.set_subject(gid, "Said at Gorgias", by=AGENTS[0])
    await shop.people.edit(number, "subject", "Said at Redmine")
    await shop.once()
    told = await shop.syncd("conflicts", config)
    assert f"Gorgias ticket {gid} = Redmine ticket {number}" in told.out
    assert "Gorgias had 'Said at Gorgias', Redmine had 'Said at Redmine'" in told.out
    assert "was kept: " in told.out
    assert "syncd conflicts" in (await shop.syncd("explain", str(gid), config)).out
    (listed,) = (await shop.syncd("conflicts", config, "--json")).json
    taken = await shop.syncd("conflicts", config, "--take", str(listed["id"]))
    assert "the next pass sets 'subject' to" in taken.out
    was = shop.subjects()[0]
    await shop.once()
    assert shop.subjects()[0] == shop.subjects()[1] != was
    assert "was asked for, and set" in (await shop.syncd("conflicts", config)).out
    again = await shop.syncd("conflicts", config, "--take", str(listed["id"]))
    assert (again.code, "taken back already" in again.err) == (1, True)
    assert "there is no conflict 99" in (await shop.syncd("conflicts", config, "--take", "99")).err


async def test_explain_says_why_a_ticket_has_no_copy(shop: Shop) -> None:
    """No tag that is asked for, in the trash, no such ticket; and a name that is none."""
    gid = fill(shop)
    trashed = shop.sandbox.create_ticket("Spam", "Buy!")
    shop.sandbox.trash(trashed)
    config = shop.config(sync='tags = ["engineering"]')
    await shop.once()
    asked = (str(gid), str(trashed), "999", "remote:7", "elsewhere:7")
    runs = await asyncio.gather(*(shop.syncd("explain", ticket, config) for ticket in asked))
    wanted = (
        "none of the tags",
        "in the trash",
        "does not exist",
        "Redmine ticket 7 does not exist",
        "names no ticket",
    )
    assert [text for text, run in zip(wanted, runs, strict=True) if text not in said(run)] == []
    assert [run.code for run in runs] == [0, 0, 0, 0, 1]


async def test_explain_says_what_would_be_done_and_what_has_no_word(shop: Shop) -> None:
    """Before the next pass: the change and its reason; and a value that Redmine does not have."""
    gid = fill(shop)
    shop.sandbox.set_field(gid, shop.severity, "S3")
    config = shop.config()
    await shop.once()
    shop.sandbox.set_subject(gid, "Renamed", by=AGENTS[0])
    (told,) = (await shop.syncd("explain", str(gid), config, "--json")).json
    assert told["would"] == ["set 'subject' in Redmine to 'Renamed': Gorgias has 'Renamed'"]
    assert [line for line in told["waits"] if "'Severity' is 'S3' in Gorgias, for which Redmine has no word" in line]
    field = next(line for line in told["fields"] if line["field"] == "subject")
    assert (field["gorgias"], field["gorgias_agreed"]) == ("Renamed", "Where is my order?")


async def test_the_audit_trail_shows_what_was_there_before(shop: Shop) -> None:
    """From the create to the last change of one ticket; a ticket that is not known has none."""
    gid = fill(shop)
    config = shop.config()
    await shop.once()
    shop.sandbox.set_subject(gid, "Renamed", by=AGENTS[0])
    await shop.once()
    rows = (await shop.syncd("audit", config, "--json", "--ticket", str(gid))).json
    assert (rows[0]["kind"], rows[-1]["kind"]) == ("create", "update")
    told = await shop.syncd("audit", config)
    assert "made in Redmine" in told.out
    assert "Redmine: subject was 'Where is my order?', is 'Renamed'" in told.out
    (last,) = (await shop.syncd("audit", config, "--limit", "1")).out.splitlines()
    assert last == told.out.splitlines()[-1]
    assert (await shop.syncd("audit", config, "--ticket", "999")).out == "nothing was written\n"


async def test_retry_of_one_ticket_leaves_the_others(shop: Shop) -> None:
    """Only a ticket that is known is looked at again."""
    gid = fill(shop)
    config = shop.config()
    await shop.once()
    one, none = await asyncio.gather(
        shop.syncd("retry", config, "--ticket", str(gid), "--json"), shop.syncd("retry", config, "--ticket", "77")
    )
    assert one.json == [{"workspace": "acme", "tickets": 1}]
    assert none.out == "acme: nothing to retry\n"
    assert [row["ticket_id"] for row in shop.rows("dirty")] == [str(gid)]


# -- what goes wrong --------------------------------------------------------------------------------------------------


def broken(shop: Shop) -> dict[str, tuple[dict[str, Any], str]]:
    """Ways in which the remote cannot be worked with, and what the sentence about each says."""
    return {
        "key": ({"redmine_key": "wrong-key"}, "401"),
        "html": ({"redmine": shop.urls["redmine"] + "/html"}, "not JSON"),
        "truncated": ({"redmine": shop.urls["redmine"] + "/cut"}, "not JSON"),
        "ill": ({"redmine": shop.urls["redmine"] + "/ill"}, "503"),
        "shape": ({"redmine": shop.urls["redmine"] + "/shape"}, "remote"),
        "project": ({"project": "nowhere"}, "nowhere"),
        "nobody": ({"redmine": "http://127.0.0.1:9"}, "cannot be reached"),
    }


async def misbehave(request: web.Request) -> web.StreamResponse | None:
    """Answers by the first part of the path, as servers in front of a product do."""
    answers = {
        "html": (200, "<!doctype html><title>Log in</title>", "text/html"),
        "cut": (200, '{"issues": [{"id": 1, "subj', "application/json"),
        "ill": (503, "upstream", "text/plain"),
        "shape": (200, '{"hello": "world"}', "application/json"),
    }
    found = answers.get(request.path.split("/")[1])
    return web.Response(status=found[0], text=found[1], content_type=found[2]) if found else None


async def test_a_side_that_cannot_be_worked_with_is_one_sentence(shop: Shop) -> None:
    """Which side, what it said, no traceback, exit code 1, bounded calls; once it is mended nothing is missing."""
    fill(shop)
    shop.remote.interfere = misbehave
    cases = broken(shop)
    files = {name: shop.config(name, **options) for name, (options, _) in cases.items()}
    runs = await asyncio.gather(*(shop.syncd("once", file, "--patience", "0", "--json") for file in files.values()))
    for (name, (_, wanted)), done in zip(cases.items(), runs, strict=True):
        text = said(done)
        (outcome,) = done.json
        assert done.code == 1, (name, text)
        assert len(outcome["problems"]) == 1, (name, outcome)
        assert outcome["problems"][0].startswith("remote: "), (name, outcome)
        assert wanted in outcome["problems"][0], (name, outcome)
        assert "wrong-key" not in text
    assert shop.remote.writes() == shop.gorgias.writes() == []
    assert len(shop.remote.calls) < 40
    shop.remote.interfere = None
    shop.config()
    await shop.once()
    assert shop.subjects()[0] == shop.subjects()[1]


async def test_a_wrong_key_is_not_tried_over_and_over(shop: Shop) -> None:
    """With all patience: a refusal does not pass by waiting."""
    shop.config(gorgias_key="wrong-key")
    done = await shop.once(code=1)
    assert "401" in done.out
    assert len(shop.gorgias.calls) <= 3


async def test_one_broken_workspace_does_not_stop_the_others(shop: Shop) -> None:
    """Of three, the broken one is named; the other two are in step."""
    fill(shop)
    good, bad = shop.config(), shop.config("broken", gorgias_key="wrong-key")
    done = await shop.syncd("once", bad, good, "--patience", "0", "--json")
    by_name = {outcome["workspace"]: outcome for outcome in done.json}
    assert done.code == 1, said(done)
    assert by_name["acme"]["in_step"] is True
    assert "401" in by_name["broken"]["problems"][0]
    assert shop.subjects()[0] == shop.subjects()[1]


async def test_hostile_content_settles(shop: Shop) -> None:
    """A subject of 5,000 characters, NUL bytes, a file over the limit: in step, said where it was cut, and no crash."""
    long = shop.sandbox.create_ticket("x" * 900 + "é" * 4100, "Long.")
    nul = shop.sandbox.create_ticket("a\x00b", "be\x00fore", customer="nul@customer.example")
    big = attached(shop, "film.bin", b"0" * 3000)
    shop.sandbox.note(nul, "see file", by=AGENTS[0], attachments=[big])
    await shop.people.create("Pump\x00 leaks", "Drip\x00drip.")
    shop.config(sync='max_attachment = "2KB"')
    done = await shop.once("--json")
    assert done.json[0]["in_step"] is True, said(done)
    subjects = shop.subjects()[1]
    assert [len(subject) for subject in subjects if subject.startswith("xxx")] == [255]
    assert len(subjects) == 3
    notes = [note["notes"] for issue in shop.redmine.issues.values() for note in issue["journals"] if note["notes"]]
    assert [text for text in notes if "film.bin" in text and "too large" in text]
    assert not shop.redmine.files
    shop.remote.calls.clear()
    shop.gorgias.calls.clear()
    await shop.once()
    assert (shop.gorgias.writes(), shop.remote.writes()) == ([], [])
    assert str(long) in {row["gorgias_id"] for row in shop.rows("link")}


async def test_a_ticket_that_is_deleted_while_it_is_read(shop: Shop) -> None:
    """It has no copy and is no problem; the others are carried over."""
    gid = fill(shop)

    async def delete(request: web.Request) -> None:
        if request.path == f"/api/tickets/{gid}" and gid in shop.sandbox.tickets:
            shop.sandbox.delete_ticket(gid)

    shop.gorgias.interfere = delete
    shop.config()
    done = await shop.once("--json")
    assert done.json[0]["in_step"] is True, said(done)
    assert shop.subjects() == (["Broken lamp"], ["Broken lamp"])


# -- the database -----------------------------------------------------------------------------------------------------


async def test_a_database_of_a_newer_syncd_is_left_alone(shop: Shop) -> None:
    """Every command says which database and what to do."""
    config = shop.config()
    await shop.once()
    with closing(sqlite3.connect(shop.folder / "syncd.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    before = shop.dump()
    for words in (["once"], ["status"], ["plan"], ["run"], ["db", "upgrade"]):
        done = await shop.syncd(*words, config)
        assert done.code == 1, words
        assert f"the database {shop.folder}/syncd.db: the database is at revision 9999" in said(done)
        assert "upgrade the program" in done.err
    assert shop.dump() == before


async def test_a_full_disk_loses_nothing(shop: Shop) -> None:
    """The store cannot grow: a sentence, exit code 1; with room again nothing is missing and nothing is doubled."""
    for number in range(30):
        shop.sandbox.create_ticket(f"Ticket {number:02}", "text " * 400)
    config = shop.config()
    assert (await shop.syncd("db", "upgrade", config)).code == 0
    size = (shop.folder / "syncd.db").stat().st_size
    done = await shop.syncd("once", config, "--patience", "0", "--json", fsize=size + 60_000)
    assert done.code == 1, said(done)
    assert "store: the database is locked, full or away" in done.json[0]["problems"][0]
    await shop.once(seconds=60)
    assert shop.subjects()[0] == shop.subjects()[1]
    assert len(shop.redmine.issues) == 30


async def test_a_place_that_cannot_hold_a_database(shop: Shop) -> None:
    """A folder that is not there, a file that is no database, a scheme that is none: one sentence, at once."""
    (shop.folder / "text.db").write_text("this is no database, but text " * 50)
    for store, wanted in (
        (f"sqlite:///{shop.folder}/none/x.db", "does not exist"),
        (f"sqlite:///{shop.folder}/text.db", "file is not a database"),
        ("postgresql://syncd:pg-password@127.0.0.1:9/x", "the database x at 127.0.0.1"),
    ):
        done = await shop.syncd("status", shop.config(store=store))
        assert done.code == 1, store
        assert wanted in said(done)
        assert "pg-password" not in done.err


# -- secrets ----------------------------------------------------------------------------------------------------------


async def test_secrets_are_printed_and_stored_nowhere(shop: Shop) -> None:
    """Not even when a product sends our own key back in its error messages."""
    fill(shop)

    async def echo(request: web.Request) -> web.StreamResponse | None:
        if request.method == "GET" and not request.path.startswith("/issues/"):
            return None
        text = json.dumps({"errors": [f"denied for {request.headers['X-Redmine-API-Key']}"]})
        return web.Response(status=422, text=text, content_type="application/json")

    shop.redmine.keys[KEY] = next(row for row in shop.redmine.keys.values() if row["admin"])
    shop.remote.interfere = echo
    config = shop.config(redmine_key=KEY)
    runs = [await shop.syncd("once", config, "--patience", "0")]
    runs += [await shop.syncd(word, config, *more) for word in LOOKING for more in ((), ("--json",))]
    runs += [await shop.syncd("explain", "1001", config), await shop.syncd("plan", config)]
    runs += [await shop.syncd("check", config, "--live")]
    assert [run for run in runs if KEY in said(run)] == []
    assert "denied for" in runs[0].err
    assert [line for line in shop.dump() if KEY in line] == []


# -- progress, signals, exit codes ------------------------------------------------------------------------------------


async def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(shop: Shop) -> None:
    """Both on standard error, for a run that takes its time; standard output holds the result alone."""
    for number in range(24):
        gid = shop.sandbox.create_ticket(f"Ticket {number}", "text")
        shop.sandbox.add_tags(gid, "bar" if number % 2 else "lines")
    shop.remote.slow_writes(0.22)
    bar, lines = (
        shop.config(tag, sync=f'concurrency = 1\ndirection = "to_remote"\ntags = ["{tag}"]') for tag in ("bar", "lines")
    )
    plain = asyncio.create_task(shop.syncd("backfill", lines, "--json"))
    leader, follower = pty.openpty()
    try:
        drawn = shop.syncd("once", bar, "--json", terminal=os.ttyname(follower), env={"TERM": "xterm"})
        done, shown = await read_terminal(leader, drawn)
    finally:
        os.close(follower)
        os.close(leader)
    assert done.json[0]["in_step"] is True
    assert re.search(r"bar .*[1-9]\d*/\d+ \d+ writes", shown), shown
    told = [line for line in (await plain).err.splitlines() if line.startswith("lines: ")]
    assert told, (await plain).err
    assert re.fullmatch(r"lines: \d+ of \d+ tickets, \d+ writes(, about \d+ (s|min) left)?", told[0])
    assert (await plain).json[0]["in_step"] is True


async def read_terminal(leader: int, run: Coroutine[Any, Any, Done]) -> tuple[Done, str]:
    """The run, and what was shown on the terminal until it ended."""
    os.set_blocking(leader, False)
    shown, task = b"", asyncio.create_task(run)
    while not task.done():
        await asyncio.sleep(0.05)
        try:
            shown += os.read(leader, 65536)
        except BlockingIOError:  # nothing new
            continue
    return task.result(), shown.decode("utf-8", "replace")


async def test_a_short_run_shows_no_progress(shop: Shop) -> None:
    """What ends within two seconds is not worth a word."""
    fill(shop)
    shop.config()
    done = await shop.once()
    assert done.out.startswith("acme: in step, 2 linked tickets")
    assert all(line.startswith("{") for line in done.err.splitlines())


async def test_sigterm_ends_once_and_frees_the_workspace(shop: Shop) -> None:
    """The lease is let go, the exit code says which signal; the next run brings everything over once."""
    fill(shop)
    shop.remote.slow_writes(1.0)
    config = shop.config()
    process = await shop.command.start("once", str(config))
    await process.until(shop.remote.writes)
    assert await process.stop() == 128 + signal.SIGTERM
    assert [row["holder"] for row in shop.rows("lease")] == [""]
    shop.remote.interfere = None
    await shop.once()
    assert shop.subjects()[0] == shop.subjects()[1]


async def test_a_wrong_call_is_exit_code_2(shop: Shop) -> None:
    """A file that is not there, and a command that is none."""
    missing = await shop.syncd("once", "nowhere.toml")
    assert (missing.code, "nowhere.toml: there is no such file or folder" in missing.err) == (2, True)
    assert (await shop.syncd("sink", "x")).code == 2


# -- backfill ---------------------------------------------------------------------------------------------------------


async def test_a_first_load_leaves_old_tickets_alone(shop: Shop) -> None:
    """What has not changed since the given day gets its copy when it next changes, or by reconciling."""
    old = datetime.now(UTC) - timedelta(days=60)
    with shop.sandbox.at(old):
        first = shop.sandbox.create_ticket("Long ago", "It was fine.")
        shop.sandbox.create_ticket("Longer ago", "It was better.")
    shop.sandbox.create_ticket("Today", "It is late.")
    config, day = shop.config(), f"{datetime.now(UTC) - timedelta(days=30):%Y-%m-%d}"
    done = await shop.syncd("backfill", config, "--since", day)
    assert done.code == 0, said(done)
    assert shop.subjects()[1] == ["Today"]
    shop.sandbox.note(first, "Again!", by=AGENTS[0])
    assert (await shop.syncd("once", config)).code == 0
    assert shop.subjects()[1] == ["Long ago", "Today"]
    assert (await shop.syncd("reconcile", config, "--apply")).code in (0, 1)
    assert (await shop.syncd("once", config)).code == 0
    assert shop.subjects()[1] == ["Long ago", "Longer ago", "Today"]
    wrong = await shop.syncd("backfill", config, "--since", "yesterday")
    assert (wrong.code, "yesterday" in wrong.err) == (2, True)
