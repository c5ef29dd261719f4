"""The status page: one HTML page without scripts, built as a tree so that nothing in it needs escaping by hand."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from xml.etree import ElementTree as ET

from syncd.web.health import Parked, SideHealth, WorkspaceHealth
from syncd.web.html import Child, document, policy, table, tag

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin: 2rem 0 .5rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1rem; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #8886; vertical-align: top; }
.good { color: #1a7f37; } .bad { color: #cf222e; } .note { opacity: .75; }
@media (prefers-color-scheme: dark) { .good { color: #3fb950; } .bad { color: #f85149; } }
"""
POLICY = policy(STYLE)
REFRESH = 15  # seconds


def render(workspaces: Sequence[WorkspaceHealth], now: datetime) -> str:
    """The page for these workspaces."""
    title = "syncd: all in order" if all(map(_fine, workspaces)) else "syncd: something needs attention"
    renew = tag("meta", **{"http-equiv": "refresh", "content": str(REFRESH)})
    body = tag("body", tag("h1", title), *(part for one in workspaces for part in _workspace(one, now)))
    if not workspaces:
        body.append(tag("p", "No workspace is configured."))
    body.append(tag("p", f"As of {_moment(now)}; this page renews itself.", **{"class": "note"}))
    return document(title, STYLE, body, renew)


def _fine(workspace: WorkspaceHealth) -> bool:
    return workspace.ready and not workspace.parked_total and all(side.up for side in workspace.sides)


def _workspace(workspace: WorkspaceHealth, now: datetime) -> Iterable[ET.Element]:
    word = "ready" if workspace.ready else f"not ready: {workspace.reason}"
    yield tag("h2", workspace.name, " ", tag("small", word, **_mood(workspace.ready)))
    yield tag("p", _summary(workspace, now))
    heads = ("side", "connector", "state", "behind", "call allowance used")
    yield table(heads, [_side(side, now) for side in workspace.sides])
    if workspace.parked:
        yield tag("h3", f"Waiting for a person: {workspace.parked_total}")
        yield table(("ticket", "what", "why", "since"), [_parked(item, now) for item in workspace.parked])


def _summary(workspace: WorkspaceHealth, now: datetime) -> str:
    success = _ago(workspace.last_success, now) if workspace.last_success else "never"
    return (
        f"{workspace.linked} linked tickets · {workspace.dirty} to be looked at · {workspace.waiting} waiting for a "
        f"later try · {workspace.parked_total} parked · {workspace.conflicts} conflicts · last good pass: {success}"
    )


def _side(side: SideHealth, now: datetime) -> list[Child]:
    since = f" ({_ago(side.since, now)})" if side.since else ""
    state = "up" if side.up else f"down{since}: {side.reason}"
    return [side.side, side.connector, tag("span", state, **_mood(side.up)), _span(side.lag), f"{side.bucket:.0%}"]


def _parked(item: Parked, now: datetime) -> list[Child]:
    name: Child = item.ticket
    if item.url and item.url.startswith(("http://", "https://")):
        name = tag("a", item.ticket, href=item.url, rel="noreferrer noopener")
    return [name, item.what, item.reason, _ago(item.since, now) if item.since else ""]


def _mood(good: bool) -> dict[str, str]:
    return {"class": "good" if good else "bad"}


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _ago(moment: datetime, now: datetime) -> str:
    return f"{_span((now - moment).total_seconds())} ago"


def _span(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
