"""What syncd promises about keeping two products the same, as data; and which tests hold it to each of them.

`python -m tests.promises` writes the table of docs/how-sync-works.md anew. A test claims a promise with
`@pytest.mark.promise("P3")`, a parametrised case with `pytest.param(…, marks=pytest.mark.promise("P3"))`.
"""

import importlib
import inspect
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "how-sync-works.md"
BEGIN, END = "<!-- promises: begin (python -m tests.promises) -->", "<!-- promises: end -->"
CLAIM = "mark.promise("


@dataclass(frozen=True)
class Promise:
    """One promise; `source` tells whether it follows from the design, or from what went wrong in other sync tools."""

    id: str
    text: str
    source: Literal["design", "seen elsewhere"]


PROMISES = (
    Promise("P1", "Once nobody edits any more, both sides say the same, as far as both have words for it.", "design"),
    Promise("P2", "What syncd wrote itself is no news: a quiet pass writes nothing.", "seen elsewhere"),
    Promise("P3", "No ticket, comment or file is ever made twice.", "seen elsewhere"),
    Promise("P4", "Nothing that a person wrote is lost: each ticket and each comment gets its copy.", "seen elsewhere"),
    Promise("P5", "A crash at any step, before or after its effect, changes nothing about the outcome.", "design"),
    Promise("P6", "A write whose answer was lost is recognised, and not sent again.", "seen elsewhere"),
    Promise("P7", "A copy that searches do not show yet is waited for, not made again.", "seen elsewhere"),
    Promise("P8", "Events that come twice, or in another order, lead to the same result.", "design"),
    Promise("P9", "A change that its product shows late is found.", "seen elsewhere"),
    Promise("P10", "A feed that breaks off, or whose rows move while it is read, loses nothing.", "seen elsewhere"),
    Promise("P11", "A feed counts as read only as far as what it said is stored.", "design"),
    Promise("P12", "Edits of different fields of one ticket, one on each side, both survive.", "seen elsewhere"),
    Promise("P13", "Of two edits of one field the later one wins; the other one is kept in the log.", "seen elsewhere"),
    Promise("P14", "Clocks that differ do not change who was later; a tie always ends the same way.", "design"),
    Promise("P15", "What syncd writes to a ticket makes no other field of the ticket look newly edited.", "design"),
    Promise("P16", "Tags are added and removed one by one: no change of another tag is undone.", "seen elsewhere"),
    Promise("P17", "A value that its author takes back while syncd is down stays taken back.", "design"),
    Promise("P18", "An edit made while a pass works on its ticket survives where the product checks versions;"
            " elsewhere only the moment between reading and writing one and the same field is open.", "design"),
    Promise("P19", "An edit beats a delete; trash is no delete; a merged ticket's link goes to the survivor.",
            "seen elsewhere"),
    Promise("P20", "When much is gone at once, or a side shows nothing at all, nothing is deleted or closed.",
            "seen elsewhere"),
    Promise("P21", "A side that refuses every call is called seldom, and everything is caught up on later.",
            "seen elsewhere"),
    Promise("P22", "A ticket that fails each time holds up no other one, and is tried again at its next event.",
            "seen elsewhere"),
    Promise("P23", "A product that shortens or respells what it is given causes no second write.", "seen elsewhere"),
    Promise("P24", "No write shows to a customer what was not public, unless the configuration says so.", "design"),
    Promise("P25", "Name tables and texts lead back: across, back and across again is across.", "seen elsewhere"),
    Promise("P26", "The same bytes are uploaded once; what is too large stays where it is, and the text says so.",
            "seen elsewhere"),
    Promise("P27", "An agent whom the other side does not know never clears the assignee there.", "seen elsewhere"),
    Promise("P28", "A ticket that is met in a first load and in live news at once gets one link.", "seen elsewhere"),
    Promise("P29", "Two processes never work on one workspace: the second is refused, the former one is fenced off.",
            "design"),
    Promise("P30", "A field that is written again and again is stopped and parked.", "seen elsewhere"),
    Promise("P31", "A value that is refused is parked, with its reason; the rest of its ticket goes on.", "design"),
    Promise("P32", "Two changes within one stamp of a product that only counts seconds are both found.", "design"),
    Promise("P33", "With a lost database the markers link again what was linked.", "design"),
    Promise("P34", "A value without a word on the other side changes nothing there, and clears nothing.", "design"),
    Promise("P35", "One-way sync writes to one side only.", "seen elsewhere"),
    Promise("P36", "A copy is never less private than its original, and never becomes so.", "seen elsewhere"),
    Promise("P37", "The base is what was last agreed upon, never what was last seen.", "design"),
    Promise("P38", "The same situation gives the same plan.", "design"),
    Promise("P39", "An edited comment is edited on the other side, and not added once more.", "seen elsewhere"),
    Promise("P40", "Custom fields arrive in the type of the field that takes them.", "design"),
    Promise("P41", "No secret shows in a log, an error, a metric, a page or the database, whatever fails.", "design"),
    Promise("P42", "What one side sends runs no code on the other, leads nowhere inside, names no path.", "design"),
)  # fmt: skip
IDS = tuple(promise.id for promise in PROMISES)


@dataclass(frozen=True, order=True)
class Claim:
    """A test, or a parametrised case of one, and the promises it claims to hold."""

    file: str
    test: str
    ids: tuple[str, ...]


def claims() -> list[Claim]:
    """Every claim of every test module."""
    files = sorted(path for path in (ROOT / "tests").rglob("test_*.py") if CLAIM in path.read_text(encoding="utf-8"))
    return [claim for path in files for claim in claims_of(path)]


def claims_of(path: Path) -> list[Claim]:
    """The claims of one module; a test without any is listed with none."""
    file = path.relative_to(ROOT).as_posix()
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    everything = list(_claimed(file, vars(module), module.__name__))
    for name, thing in vars(module).items():
        if inspect.isclass(thing) and name.startswith("Test") and thing.__module__ == module.__name__:
            everything += _claimed(file, vars(thing), module.__name__, f"{name}.")
    return everything


def _claimed(file: str, names: Mapping[str, Any], module: str, prefix: str = "") -> Iterator[Claim]:
    for name, thing in names.items():
        if not name.startswith("test_") or not callable(thing) or thing.__module__ != module:
            continue
        marks = getattr(thing, "pytestmark", [])
        own = _ids(marks)
        cases = [case for mark in marks if mark.name == "parametrize" for case in mark.args[1] if _ids(_marks(case))]
        yield from (Claim(file, f"{prefix}{name}[{case.id}]", own + _ids(case.marks)) for case in cases)
        if not cases or own:
            yield Claim(file, prefix + name, own)


def _marks(case: Any) -> Iterable[Any]:
    return getattr(case, "marks", ())


def _ids(marks: Iterable[Any]) -> tuple[str, ...]:
    return tuple(name for mark in marks if mark.name == "promise" for name in mark.args)


def table() -> str:
    """The promises and their tests, as the page shows them."""
    by_promise = defaultdict(list)
    for claim in claims():
        for name in claim.ids:
            by_promise[name].append(claim)
    rows = ["| promise | | held by |", "| --- | --- | --- |"]
    rows += [f"| {p.id} | {p.text} | {_tests(by_promise[p.id])} |" for p in PROMISES]
    return "\n".join(rows)


def _tests(found: Iterable[Claim]) -> str:
    by_file = defaultdict(list)
    for claim in found:
        by_file[claim.file].append(claim.test.removeprefix("test_"))
    return "; ".join(f"`{Path(file).name}`: {', '.join(tests)}" for file, tests in sorted(by_file.items()))


def filled(page: str) -> str:
    """The page with the table between its two markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
