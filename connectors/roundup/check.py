"""What `syncd check --live` asks a tracker: its API, our account, the properties, our rights, the time zone."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from datetime import timedelta
from typing import Any

from connectors.roundup.mapping import STAMP, moment
from connectors.roundup.tracker import Tracker
from syncd.connector import Finding
from syncd.errors import AccountError

REST = "in the tracker's config.ini set enable_rest = yes in [web], and give `url` the address of the front page"
USER = "the user needs the roles that hold 'Web Access' and 'Rest Access'; too many wrong passwords lock it for minutes"
PROPERTY = "add the line {kind}.addprop({name}=String()) at the end of the classes in the tracker's schema.py"
RIGHT = "in schema.py: db.security.addPermissionToRole(ROLE, 'Create', '{kind}'), and the same with 'Edit'"
ZONE = "empty the time zone of our user, and set timezone = UTC in [main] of config.ini: the API shows UTC alone"
ADDRESS = "in schema.py: db.security.addPermissionToRole(ROLE, 'View', 'user'); until then people are not recognised"
PRIVATE = 'add the property, or set private_property to "" to have private comments refused'


async def findings(tracker: Tracker) -> Sequence[Finding]:
    """Everything that can be looked at without writing."""
    user = tracker.config.user
    found = [
        await _try(tracker, f"the REST API, as {user}", f"{REST}; {USER}", "GET", "/data/issue", query={"id": "0"})
    ]
    if not found[0].ok:
        return found
    rest = [*_properties(tracker), *_rights(tracker), _addresses(tracker), _zone(tracker)]
    return [*found, *await asyncio.gather(*rest)]


def _properties(tracker: Tracker) -> Iterable[Awaitable[Finding]]:
    config = tracker.config
    wanted = [(kind, config.marker_property) for kind in ("issue", "msg")]
    wanted += [("issue", name) for name in filter(None, [config.tags_property, *config.fields])]
    wanted += [("msg", name) for name in filter(None, [config.private_property])]
    for kind, name in wanted:
        hint = PROPERTY.format(kind=kind, name=name)
        if name == config.private_property:
            hint = f"{hint.replace('String', 'Boolean')}, or leave private comments out: {PRIVATE}"
        query = {"id": "0", "@fields": name}
        yield _try(tracker, f"the property {name} of {kind}", hint, "GET", f"/data/{kind}", query=query)


def _rights(tracker: Tracker) -> Iterable[Awaitable[Finding]]:
    tags = [tracker.config.tags_class] if tracker.config.tags_property else []
    for kind in ("issue", "msg", "file", *tags):
        yield _right(tracker, kind)


async def _right(tracker: Tracker, kind: str) -> Finding:
    # The right is looked at before the names of the properties are: nothing is created either way.
    found = await _try(tracker, f"the right to create {kind}", "", "POST", f"/data/{kind}", json={"no_such": "x"})
    allowed = "not found in class" in found.hint
    return Finding(found.what, allowed, "" if allowed else f"{found.hint}; {RIGHT.format(kind=kind)}")


async def _addresses(tracker: Tracker) -> Finding:
    users = await tracker.users()
    seen = any(user.get("address") for user in users if user.get("username") != tracker.config.user)
    fine = seen or len(users) < 3
    return Finding("the addresses of users can be seen", fine, "" if fine else ADDRESS)


async def _zone(tracker: Tracker) -> Finding:
    """Dates that are sent are read in the user's zone, dates that are shown are UTC: both must be one."""
    newest = await tracker.rows("issue", ("@sort", "-activity"), ("@page_size", "1"), fields="activity")
    stamp = moment(newest[0].get("activity")) if newest else None
    fine = stamp is None
    if stamp:
        only = ("id", str(newest[0]["id"]))
        inside, outside = [
            await tracker.rows("issue", only, ("activity", f"{bound:{STAMP}};"), fields="id")
            for bound in (stamp, stamp + timedelta(seconds=1))
        ]
        fine = bool(inside) and not outside
    return Finding("the user's time zone is UTC", fine, "" if fine else ZONE)


async def _try(tracker: Tracker, what: str, hint: str, method: str, path: str, **options: Any) -> Finding:
    try:
        await tracker.call(method, path, **options)
    except AccountError as error:
        return Finding(what, ok=False, hint=f"{error}; {hint}" if hint else str(error))
    return Finding(what, ok=True)
