"""Reports as people read them: tables and sentences on a rich console."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from syncd.dry import Intended
from syncd.passes import Outcome
from syncd.reports import Explanation

Rows = list[dict[str, Any]]


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
        writes = sum(row["writes"].values())
        state = "in step" if row["in_step"] else "NOT in step"
        console.print(
            f"{row['workspace']}: {state}, {row['links']} linked tickets, {writes} writes in {row['passes']} passes"
            + (f", {row['parked']} parked (syncd parked)" if row["parked"] else "")
            + (f", {row['waiting']} waiting (syncd status)" if row["waiting"] else "")
            + (f", {row['conflicts']} conflicts (syncd conflicts)" if row["conflicts"] else ""),
            highlight=False,
        )
        for problem in row["problems"]:
            console.print(f"  {escape(problem)}", style="red", highlight=False)


def intended(write: Intended) -> dict[str, Any]:
    """A write of a dry run."""
    return {
        "workspace": write.workspace,
        "side": str(write.side),
        "kind": write.kind,
        "ticket": write.ticket,
        "what": dict(write.what),
    }


def plan(console: Console, rows: Rows) -> None:
    """Ticket by ticket, field by field."""
    if not rows:
        console.print("nothing would be written")
    for row in rows:
        head = f"{row['workspace']}: {row['kind']} at {row['side']}, ticket {row['ticket']}"
        console.print(head, style="bold", highlight=False)
        for name, value in row["what"].items():
            console.print(f"    {escape(str(name))}: {escape(_change(row['kind'], value))}", highlight=False)


def _change(kind: str, value: Any) -> str:
    if kind == "update" and isinstance(value, list) and len(value) == 2:
        return f"{value[0]!r} → {value[1]!r}"
    return repr(value)


def check(console: Console, found: dict[str, Any]) -> None:
    """What was looked at, and what to do about what is not fine."""
    console.print(f"configuration: {len(found['workspaces'])} workspaces, no problems", highlight=False)
    for row in found["findings"]:
        mark = "[green]ok[/]" if row["ok"] else "[red]no[/]"
        hint = f": {escape(row['hint'])}" if row["hint"] else ""
        console.print(f"{mark} {row['workspace']} {row['side']}: {escape(row['what'])}{hint}", highlight=False)


def status(console: Console, rows: Rows) -> None:
    """A table of the numbers, and what waits below it."""
    names = ("workspace", "links", "dirty", "waiting", "parked", "conflicts", "worked_on_by")
    table = Table(*(name.replace("_", " ") for name in names), box=None)
    for row in rows:
        table.add_row(*(str(row[name] if row[name] is not None else "-") for name in names))
    console.print(table)
    for row in rows:
        for wait in row["waits"]:
            until = f"{wait['until']:%Y-%m-%d %H:%M:%S} UTC"
            console.print(
                f"{row['workspace']} {wait['side']} {wait['ticket']}: {escape(wait['why'])} (again {until})",
                highlight=False,
            )


def parked(console: Console, rows: Rows) -> None:
    """A paragraph for each."""
    if not rows:
        console.print("nothing is parked")
    for row in rows:
        console.print(f"{row['workspace']} ticket {row['ticket']}: {row['what']}", style="bold", highlight=False)
        console.print(f"    {escape(row['reason'])}", highlight=False)
        if row["hint"]:
            console.print(f"    → {escape(row['hint'])}", highlight=False)


def conflicts(console: Console, rows: Rows) -> None:
    """A paragraph for each."""
    if not rows:
        console.print("there were no conflicts")
    for row in rows:
        console.print(f"{row['workspace']} ticket {row['ticket']}: {row['field']}", style="bold", highlight=False)
        console.print(
            f"    gorgias {row['gorgias_value']!r}, remote {row['remote_value']!r}", highlight=False, markup=False
        )
        console.print(f"    {row['winner']} won: {escape(row['why'])}", highlight=False)


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
        console.print(f"{row['workspace']} {row['ticket']}", style="bold", highlight=False)
        for sentence in row["sentences"]:
            console.print(f"  {escape(sentence)}", highlight=False)
        if row["fields"]:
            table = Table("field", "Gorgias", "agreed", "remote", "agreed", box=None)
            for line in row["fields"]:
                cells = (line[n] for n in ("field", "gorgias", "gorgias_agreed", "remote", "remote_agreed"))
                table.add_row(*(escape("-" if cell is None else str(cell)) for cell in cells))
            console.print(table)
        for title, key in (("would", "would"), ("waits", "waits")):
            for line in row[key]:
                console.print(f"  {title}: {escape(line)}", highlight=False)
