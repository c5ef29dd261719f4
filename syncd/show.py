"""Reports as people read them: tables and sentences on a rich console."""

from itertools import groupby
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from syncd import wording
from syncd.dry import Intended, Intentions
from syncd.explain import Explanation
from syncd.passes import Outcome
from syncd.reconcile import Finding

Rows = list[dict[str, Any]]

#: What became of the wish to have a conflict's other value back.
TAKING = {
    None: "→ to have the other value back: syncd conflicts CONFIG --take {id}",
    "asked": "→ the other value was asked for: the next pass sets it",
    "taken": "→ the other value was asked for, and set",
    "refused": "→ the other value was asked for, and not set: {said}",
}

#: What a dry run's write would be, for people.
DEEDS = {
    "create": "would be made",
    "update": "would be changed",
    "comment": "would get a comment",
    "edit": "would get a comment's new text",
    "delete": "would be deleted",
}


def _line(console: Console, text: str, style: str = "") -> None:
    console.print(text, style=style, highlight=False, markup=False)


def _several(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def outcome(done: Outcome) -> dict[str, Any]:
    """What a run of passes came to."""
    return {
        "workspace": done.workspace,
        "in_step": done.in_step,
        "links": done.links,
        "passes": done.passes,
        "looked": done.looked,
        "writes": done.writes,
        "conflicts": done.conflicts,
        "parked": done.parked,
        "waiting": done.waiting,
        "problems": done.problems,
    }


def outcomes(console: Console, rows: Rows) -> None:
    """One line a workspace, and what went wrong below it."""
    for row in rows:
        state = "in step" if row["in_step"] else "NOT in step"
        parts = [
            f"{row['workspace']}: {state}",
            _several(row["links"], "linked ticket"),
            f"{_several(sum(row['writes'].values()), 'write')} in {_several(row['passes'], 'pass', 'passes')}",
            *([f"{row['parked']} parked (syncd parked)"] if row["parked"] else []),
            *([f"{row['waiting']} waiting (syncd status)"] if row["waiting"] else []),
            *([f"{_several(row['conflicts'], 'conflict')} (syncd conflicts)"] if row["conflicts"] else []),
        ]
        _line(console, ", ".join(parts))
        for problem in row["problems"]:
            _line(console, f"  {problem}", "red")


# -- plan -----------------------------------------------------------------------------------------------------------


def intentions(found: Intentions) -> dict[str, Any]:
    """A workspace's dry run."""
    writes = [_intended(write) for write in found.writes]
    return {"workspace": found.workspace, "writes": writes, "waits": found.waits, "problems": found.problems}


def _intended(write: Intended) -> dict[str, Any]:
    return {"side": str(write.side), "kind": write.kind, "ticket": write.ticket, "what": dict(write.what)}


def plan(console: Console, rows: Rows) -> None:
    """Ticket by ticket, field by field."""
    for row in rows:
        if not (row["writes"] or row["waits"] or row["problems"]):
            _line(console, f"{row['workspace']}: in step, nothing would be written")
        for ticket, writes in groupby(sorted(row["writes"], key=_by_ticket), key=_by_ticket):
            _line(console, f"{row['workspace']}: {ticket}", "bold")
            for write in writes:
                _planned(console, write)
        for wait in row["waits"]:
            _line(console, f"{row['workspace']}: not looked at yet, because it waits: {wait}")
        for problem in row["problems"]:
            _line(console, f"{row['workspace']}: the plan is not whole: {problem}", "red")


def _by_ticket(write: dict[str, Any]) -> str:
    return str(write["ticket"])


def _planned(console: Console, write: dict[str, Any]) -> None:
    what, kind = dict(write["what"]), write["kind"]
    if kind in {"comment", "edit"}:
        _line(console, f"  {DEEDS[kind]}: {_comment(what)}")
        return
    _line(console, f"  {DEEDS.get(kind, kind)}")
    comments = what.pop("comments", ())
    for name, value in what.items():
        if value not in (None, "", []):
            _line(console, f"    {wording.field(str(name))}: {_change(kind, value)}")
    for comment in comments:
        _line(console, f"    comment: {_comment(comment)}")


def _comment(said: dict[str, Any]) -> str:
    private = ", internal" if said["private"] else ""
    files = f", with {', '.join(said['files'])}" if said.get("files") else ""
    return f"{said['text']!r}{private}{files}"


def _change(kind: str, value: Any) -> str:
    if isinstance(value, list) and kind == "update" and len(value) == 2:
        return f"{value[0]!r} → {value[1]!r}"
    return ", ".join(value) if isinstance(value, list) else repr(value)


# -- check, status --------------------------------------------------------------------------------------------------


def check(console: Console, found: dict[str, Any]) -> None:
    """What was looked at, and what to do about what is not fine."""
    _line(console, f"configuration: {_several(len(found['workspaces']), 'workspace')}, no problems in the files")
    for row in found["findings"]:
        mark = "[green]ok[/]" if row["ok"] else "[red]NO[/]"
        hint = f": {escape(row['hint'])}" if row["hint"] else ""
        console.print(f"{mark} {row['workspace']} {row['side']}: {escape(row['what'])}{hint}", highlight=False)


def status(console: Console, rows: Rows) -> None:
    """A table of the numbers, and what waits below it."""
    names = ("workspace", "links", "dirty", "waiting", "parked", "conflicts", "worked_on_by")
    table = Table(*(name.replace("_", " ") for name in names), box=None)
    for row in rows:
        table.add_row(*(escape(str(row[name] if row[name] is not None else "-")) for name in names))
    console.print(table)
    for row in rows:
        for side, end in row["credentials_end"].items():
            when = f"{end:%Y-%m-%d %H:%M} UTC, unless they are renewed"
            _line(console, f"{row['workspace']}: the credentials of {side} end {when}")
        for wait in row["waits"]:
            until = f"{wait['until']:%Y-%m-%d %H:%M:%S} UTC"
            _line(console, f"{row['workspace']}: {wait['says']} waits until {until}: {wait['why']}")


# -- parked, conflicts, retry -----------------------------------------------------------------------------------------


def parked(console: Console, rows: Rows) -> None:
    """A paragraph for each."""
    if not rows:
        _line(console, "nothing is parked")
    for row in rows:
        _line(console, f"{row['workspace']}: {row['tickets']}", "bold")
        _line(console, f"    syncd could not {row['says']}")
        _line(console, f"    because {row['reason']}")
        _line(console, f"    → {row['hint']}")


def conflicts(console: Console, rows: Rows) -> None:
    """A paragraph for each."""
    if not rows:
        _line(console, "there were no conflicts")
    for row in rows:
        _line(console, f"{row['workspace']}: {row['tickets']}", "bold")
        _line(console, f"    both sides changed {wording.field(row['field'])!r} ({row['at']:%Y-%m-%d %H:%M} UTC)")
        values = f"Gorgias had {row['gorgias_value']!r}, {row['remote_product']} had {row['remote_value']!r}"
        _line(console, f"    {values}")
        _line(console, f"    {row['winner_product']}'s was kept: {row['why']}")
        _line(console, f"    {TAKING[row['taking']].format(**row)}")


def taking(console: Console, rows: Rows) -> None:
    """What will be done, and where its outcome is told."""
    for row in rows:
        _line(
            console,
            f"{row['workspace']}: {row['tickets']}: the next pass sets {wording.field(row['field'])!r} to "
            f"{row['value']!r} on both sides, unless it was changed again; `syncd conflicts` tells",
        )


def retry(console: Console, rows: Rows) -> None:
    """One line a workspace."""
    for row in rows:
        number = row["tickets"]
        said = f"{_several(number, 'ticket')} will be looked at by the next pass" if number else "nothing to retry"
        _line(console, f"{row['workspace']}: {said}")


# -- explain --------------------------------------------------------------------------------------------------------


def explanation(said: Explanation) -> dict[str, Any]:
    """An explanation as data."""
    return {
        "workspace": said.workspace,
        "ticket": said.ticket,
        "sentences": said.sentences,
        "fields": said.fields,
        "would": said.would,
        "waits": said.waits,
    }


def explanations(console: Console, rows: Rows) -> None:
    """Sentences, a table of the fields, what would be done, and what waits."""
    for row in rows:
        _line(console, f"{row['workspace']}: {row['ticket']}", "bold")
        for sentence in row["sentences"]:
            _line(console, f"  {sentence}")
        if row["fields"]:
            _fields(console, row["fields"])
        for title, key in (("The next pass would:", "would"), ("What waits:", "waits")):
            if row[key]:
                _line(console, f"  {title}")
            for line in row[key]:
                _line(console, f"    - {line}")


def _fields(console: Console, lines: Rows) -> None:
    table = Table("field", "Gorgias", "last agreed", "remote", "last agreed", box=None)
    for line in lines:
        cells = (line[n] for n in ("gorgias", "gorgias_agreed", "remote", "remote_agreed"))
        table.add_row(wording.field(line["field"]), *(escape("-" if cell is None else str(cell)) for cell in cells))
    console.print(table)


def finding(found: Finding) -> dict[str, Any]:
    """Something that a full compare found."""
    tickets = {str(side): ticket for side, ticket in found.tickets.items()}
    return {"workspace": found.workspace, "sentence": found.sentence, "tickets": tickets}


def findings(console: Console, rows: Rows) -> None:
    """A line for each."""
    if not rows:
        console.print("both sides are in step: nothing differs")
    for row in rows:
        console.print(f"{row['workspace']}: {escape(row['sentence'])}", highlight=False)
