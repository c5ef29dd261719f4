"""The status page: one HTML page without scripts, built as a tree so that nothing in it needs escaping by hand."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from xml.etree import ElementTree as ET

from syncd.web.health import Parked, SideHealth, WorkspaceHealth

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin: 2rem 0 .5rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1rem; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #8886; vertical-align: top; }
.good { color: #1a7f37; } .bad { color: #cf222e; } .note { opacity: .75; }
@media (prefers-color-scheme: dark) { .good { color: #3fb950; } .bad { color: #f85149; } }
"""
POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    + "'"
)
REFRESH = 15  # seconds

Child = ET.Element | str


def render(workspaces: Sequence[WorkspaceHealth], now: datetime) -> str:
    """The page for these workspaces."""
    title = "syncd: all in order" if all(map(_fine, workspaces)) else "syncd: something needs attention"
    head = _tag(
        "head",
        _tag("meta", charset="utf-8"),
        _tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        _tag("meta", **{"http-equiv": "refresh", "content": str(REFRESH)}),
        _tag("title", title),
        _tag("style", STYLE),
    )
    body = _tag("body", _tag("h1", title), *(part for one in workspaces for part in _workspace(one, now)))
    if not workspaces:
        body.append(_tag("p", "No workspace is configured."))
    body.append(_tag("p", f"As of {_moment(now)}; this page renews itself.", **{"class": "note"}))
    return "<!doctype html>\n" + ET.tostring(_tag("html", head, body, lang="en"), encoding="unicode", method="html")


def _fine(workspace: WorkspaceHealth) -> bool:
    return workspace.ready and not workspace.parked_total and all(side.up for side in workspace.sides)


def _workspace(workspace: WorkspaceHealth, now: datetime) -> Iterable[ET.Element]:
    word = "ready" if workspace.ready else f"not ready: {workspace.reason}"
    yield _tag("h2", workspace.name, " ", _tag("small", word, **_mood(workspace.ready)))
    yield _tag("p", _summary(workspace, now))
    heads = ("side", "connector", "state", "behind", "call allowance used")
    yield _table(heads, [_side(side, now) for side in workspace.sides])
    if workspace.parked:
        yield _tag("h3", f"Waiting for a person: {workspace.parked_total}")
        yield _table(("ticket", "what", "why", "since"), [_parked(item, now) for item in workspace.parked])


def _summary(workspace: WorkspaceHealth, now: datetime) -> str:
    success = _ago(workspace.last_success, now) if workspace.last_success else "never"
    return (
        f"{workspace.linked} linked tickets · {workspace.dirty} to be looked at · {workspace.waiting} waiting for a "
        f"later try · {workspace.parked_total} parked · {workspace.conflicts} conflicts · last good pass: {success}"
    )


def _side(side: SideHealth, now: datetime) -> list[Child]:
    since = f" ({_ago(side.since, now)})" if side.since else ""
    state = "up" if side.up else f"down{since}: {side.reason}"
    return [side.side, side.connector, _tag("span", state, **_mood(side.up)), _span(side.lag), f"{side.bucket:.0%}"]


def _parked(item: Parked, now: datetime) -> list[Child]:
    name: Child = item.ticket
    if item.url and item.url.startswith(("http://", "https://")):
        name = _tag("a", item.ticket, href=item.url, rel="noreferrer noopener")
    return [name, item.what, item.reason, _ago(item.since, now) if item.since else ""]


def _table(heads: Iterable[str], rows: Iterable[Iterable[Child]]) -> ET.Element:
    head = _tag("thead", _tag("tr", *(_tag("th", text, scope="col") for text in heads)))
    return _tag("table", head, _tag("tbody", *(_tag("tr", *(_tag("td", cell) for cell in row)) for row in rows)))


def _mood(good: bool) -> dict[str, str]:
    return {"class": "good" if good else "bad"}


def _tag(name: str, /, *children: Child, **attributes: str) -> ET.Element:
    element = ET.Element(name, attributes)
    last: ET.Element | None = None
    for child in children:
        if isinstance(child, ET.Element):
            element.append(child)
            last = child
        elif last is None:
            element.text = (element.text or "") + child
        else:
            last.tail = (last.tail or "") + child
    return element


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _ago(moment: datetime, now: datetime) -> str:
    return f"{_span((now - moment).total_seconds())} ago"


def _span(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
