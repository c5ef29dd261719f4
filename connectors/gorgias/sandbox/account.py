"""The account itself, search, statistics and jobs."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

from connectors.gorgias.sandbox import tickets
from connectors.gorgias.sandbox.pages import Call, listing
from connectors.gorgias.sandbox.render import SHAPES
from connectors.gorgias.sandbox.table import Row
from connectors.gorgias.sandbox.world import Act, Doc, Fault, World, normal, only_given, wrong

#: What a search type looks through, and the keys of a hit.
SEARCHED: dict[str, tuple[str, tuple[str, ...]]] = {
    "agent": ("users", ("id", "name", "email")),
    "customer": ("customers", ("id", "name", "email")),
    "customer_profile": ("customers", ("id", "name", "email")),
    "integration": ("integrations", ("id", "name", "type")),
    "team": ("teams", ("id", "name")),
    "tag": ("tags", ("id", "name")),
}
CHANNELS = {"customer_channel": None, "customer_channel_email": "email", "customer_channel_phone": "phone"}


def _account(world: World, _call: Call) -> Doc:
    return {
        "domain": world.options.domain,
        "status": {"status": "active"},
        "settings": [{**SHAPES["AccountSetting"], **row} for row in world["settings"]],
        "meta": {},
        "current_subscription": None,
        "created_datetime": min((row["created_datetime"] for row in world.users), default=None),
        "deactivated_datetime": None,
    }


def _search(world: World, call: Call) -> Doc:
    words, kind = call.body.get("query", "").lower(), call.body["type"]
    if kind in SEARCHED:
        table, keys = SEARCHED[kind]
        hits: Iterable[Doc] = (
            {key: row.get(key) for key in keys} for row in world[table] if _says(row, keys[1:], words)
        )
    else:
        hits = _channel_hits(world, CHANNELS.get(kind, "phone"), words)
    found = [hit for hit, _ in zip(hits, range(int(call.body.get("size", 10))), strict=False)]  # 5.0 is whole, too
    return {"data": found, "object": "list", "uri": "", "meta": {}}


def _says(row: Row, keys: Iterable[str], words: str) -> bool:
    return any(words in str(row.get(key) or "").lower() for key in keys)


def _channel_hits(world: World, kind: str | None, words: str) -> Iterable[Doc]:
    for row in world.customers:
        for channel in row["channels"]:
            if kind in (None, channel["type"]) and words in str(channel["address"]).lower():
                customer = {"id": row["id"], "name": row.get("name")}
                yield {key: channel[key] for key in ("id", "type", "address")} | {"customer": customer}


def _period(call: Call) -> tuple[str, str, Doc]:
    period = call.body["filters"]["period"]
    start, end = (str(normal(period[key])) for key in ("start_datetime", "end_datetime"))
    if end < start:
        raise wrong("period", "end_datetime is before start_datetime.")
    length = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    try:
        before = (datetime.fromisoformat(start) - length - timedelta(microseconds=1)).isoformat(timespec="microseconds")
    except OverflowError as error:
        raise wrong("period", "start_datetime is too long ago.") from error
    meta = {"start_datetime": start, "end_datetime": end}
    return start, end, {**meta, "previous_start_datetime": before, "previous_end_datetime": start}


def _figures(world: World, start: str, end: str) -> list[tuple[str, float, bool]]:
    """The numbers of a period; their names are inferred from the statistics of the same subjects."""
    inside: Callable[[Row, str], bool] = lambda row, key: start <= row.get(key, "") <= end  # noqa: E731
    sent = [row for row in world.messages if inside(row, "created_datetime")]
    replies = {row["ticket_id"] for row in sent if row["from_agent"] and row.get("public", True)}
    return [
        ("total_tickets_created", sum(inside(row, "created_datetime") for row in world.tickets), False),
        ("total_tickets_closed", sum(inside(row, "closed_datetime") for row in world.tickets), True),
        ("total_tickets_replied", len(replies), True),
        ("total_messages_sent", sum(row["from_agent"] and row.get("public", True) for row in sent), True),
        ("total_messages_received", sum(not row["from_agent"] for row in sent), False),
    ]


def _statistic(world: World, call: Call) -> Doc:
    start, end, meta = _period(call)
    if call.path["name"] == "overview":
        before = _figures(world, meta["previous_start_datetime"], start)
        rows: Any = [
            {"name": name, "type": "number", "value": value, "delta": value - old, "more_is_better": better}
            for (name, value, better), (_, old, _) in zip(_figures(world, start, end), before, strict=True)
        ]
        return {"data": {"data": rows}, "meta": meta}
    # Documented of the others: axes, lines and a legend; empty here, for nothing says how each is reckoned.
    return {"data": {"data": {"axes": {"x": [], "y": []}, "lines": []}, "legend": {"axes": {}}}, "meta": meta}


def _download(world: World, call: Call) -> web.Response:
    start, end, _ = _period(call)
    lines = ["name,value", *(f"{name},{value}" for name, value, _ in _figures(world, start, end))]
    return web.Response(status=201, text="\r\n".join(lines) + "\r\n", content_type="text/csv")


def _job(_world: World, row: Row) -> Doc:
    return {**SHAPES["Job"], **row, "uri": f"/api/jobs/{row['id']}/"}


def _jobs(world: World, call: Call) -> Doc:
    wanted = {key: call.query[key] for key in ("status", "type") if key in call.query}
    return listing(world, call, world["jobs"], _job, lambda row: all(row[key] == wanted[key] for key in wanted))


def _create_job(world: World, call: Call) -> Doc:
    due = normal(call.body.get("scheduled_datetime"))
    if due and due > (world.now() + timedelta(minutes=60)).isoformat(timespec="microseconds"):
        raise wrong("scheduled_datetime", "Must be at most 60 minutes ahead.")
    status = "scheduled" if due else "pending"
    values = {**call.body, "scheduled_datetime": due, "status": status, "user_id": call.act.user_id}
    row = world["jobs"].add(values | {"created_datetime": world.stamp()})
    shown = _job(world, row)
    if not due:
        world.later(0, lambda: _run(world, row["id"]))
    return shown


def _run(world: World, job_id: int) -> None:
    """Carry a job out: updateTicket and deleteTicket do their work, the others only end (inferred)."""
    row = world["jobs"].get(job_id)
    if row is None or row["status"] != "pending":
        return
    started = world.stamp()
    act = Act(row.get("user_id"))
    found = [ticket for ticket_id in row["params"].get("ticket_ids", ()) if (ticket := world.tickets.get(ticket_id))]
    end: Doc = {"status": "done"}
    try:
        for ticket in found:
            _apply(world, act, row, ticket)
    except Fault:
        end = {"status": "errored", "failed_datetime": world.stamp()}
    times = {"started_datetime": started, "ended_datetime": world.stamp(), "info": {"progress_count": len(found)}}
    world["jobs"].change(row, times | end)


def _apply(world: World, act: Act, job: Row, ticket: Row) -> None:
    if job["type"] == "deleteTicket":
        tickets.delete(world, act, ticket)
    elif job["type"] == "updateTicket":
        tickets.update(world, act, ticket, job["params"].get("updates", {}))


def _update_job(world: World, call: Call) -> Doc:
    row = world.row("jobs", call.path["id"])
    asked = only_given(cancel_requested_datetime=_asked(world, call.body))
    due = {"scheduled_datetime": normal(call.body["scheduled_datetime"])} if "scheduled_datetime" in call.body else {}
    world["jobs"].change(row, {**call.body, **due, **asked})
    return _job(world, row)


def _asked(world: World, body: Doc) -> str | None:
    return world.stamp() if body.get("status") == "cancel_requested" else None


def _cancel_job(world: World, call: Call) -> None:
    """Cancel: finished work is not undone (documented). Inferred: the job itself stays readable."""
    row = world.row("jobs", call.path["id"])
    if row["status"] not in ("done", "errored", "fatal_errored"):
        world["jobs"].change(row, {"status": "canceled", "cancelled_datetime": world.stamp()})


HANDLERS: dict[str, Callable[[World, Call], Any]] = {
    "GET /api/account": _account,
    "POST /api/search": _search,
    "POST /api/stats/{name}": _statistic,
    "POST /api/stats/{name}/download": _download,
    "GET /api/jobs": _jobs,
    "POST /api/jobs": _create_job,
    "GET /api/jobs/{id}": lambda world, call: _job(world, world.row("jobs", call.path["id"])),
    "PUT /api/jobs/{id}": _update_job,
    "DELETE /api/jobs/{id}": _cancel_job,
}
