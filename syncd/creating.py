"""The copy of a ticket that the other side does not have yet: made with its marker inside the create call itself."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from state.store import Settlement
from state.tables import Child, File, Intent
from syncd import files
from syncd.bench import Bench, digest
from syncd.connector import Upload
from syncd.model import CUSTOM, Comment, Marker, Person, Side, Ticket, Value, values
from syncd.plan import Pair, Unmapped, blank
from syncd.turn import REFUSALS, G, Postponed, R, Turn

#: Seconds after which a create that was refused is tried again unasked.
REFUSED_PAUSE = 3600.0


async def create(turn: Turn) -> None:
    """Make the copy of the only side there is. Raises Postponed when it is refused."""
    source = next(iter(turn.now))
    target = source.other
    if source not in turn.whole:
        await turn.read_whole(source)
    turn.ensure_link(source)
    if waiting := next((row for row in turn.unit.parked if row.what == f"{target}:create"), None):
        raise Postponed(f"its copy could not be made: {waiting.reason}", REFUSED_PAUSE)
    copy, payload = _copy(turn.bench, source, turn.now[source])
    marker = str(Marker(turn.bench.workspace, source, turn.now[source].id))
    async with AsyncExitStack() as stack:
        carried = [await stack.enter_async_context(files.carried(turn.bench, target, c)) for c in copy.comments or ()]
        copy = replace(copy, comments=tuple(c.comment for c in carried))
        uploads = {c.comment.id: c.uploads for c in carried}
        (intent,) = await turn.begin([turn.intent(target, "create", marker, payload)])
        try:
            made = await turn.bench.accounts[target].create(copy, marker, uploads)
        except REFUSALS as error:
            await turn.park(f"{target}:create", error, [intent])
            raise Postponed(str(error), REFUSED_PAUSE) from error
    turn.bench.report.writes[target, "create"] += 1
    turn.set_id(target, made.id)
    await settle_create(turn, intent, made, uploads=[u for group in uploads.values() for u in group])


def _copy(bench: Bench, source: Side, original: Ticket) -> tuple[Ticket, dict[str, Any]]:
    """The ticket to make at the other side, and what an intent must know to adopt it later."""
    target = source.other
    fields, writes = _translated(bench, source, original)
    tags = [(tag, bench.translation.tag_across(source, tag)) for tag in sorted(original.tags)]
    limit = bench.accounts[target].capabilities.comments_on_create
    comments = tuple(_copied(bench, source, comment) for comment in (original.comments or ())[:limit])
    copy = Ticket(
        id="",
        subject=str(fields.pop("subject", None) or ""),
        status=_text(fields.pop("status", None)),
        priority=_text(fields.pop("priority", None)),
        assignee=_text(fields.pop("assignee", None)),
        team=_text(fields.pop("team", None)),
        tags=frozenset(there for _, there in tags),
        fields={name.removeprefix(CUSTOM): value for name, value in fields.items()},
        contact=original.contact or _first_contact(original),
        comments=comments,
        created_at=original.created_at,
    )
    digests = {comment.id: digest(comment) for comment in original.comments or ()}
    return copy, {"fields": writes, "tags": tags, "comments": digests}


def _copied(bench: Bench, source: Side, comment: Comment) -> Comment:
    hidden = comment.private or (source is R and not bench.rules.public_to_gorgias)
    marker = str(Marker(bench.workspace, source, comment.id))
    return replace(comment, marker=marker, private=hidden, channel=bench.accounts[source].name)


def _translated(bench: Bench, source: Side, original: Ticket) -> tuple[dict[str, Value], list[dict[str, Any]]]:
    shown = values(original)
    fields: dict[str, Value] = {}
    writes: list[dict[str, Any]] = []
    for names in bench.translation.fields:
        mine, theirs = names if source is G else names[::-1]
        if mine not in shown:
            continue
        said = bench.translation.across(source, names, shown[mine])
        known = not isinstance(said, Unmapped)
        value: Value = None if isinstance(said, Unmapped) else said
        if value is not None:
            fields[theirs] = value
        writes.append({"name": theirs, "value": value, "source": mine, "seen": shown[mine], "known": known})
    return fields, writes


async def settle_create(
    turn: Turn, intent: Intent, made: Ticket, *, adopted: bool = False, uploads: Sequence[Upload] = ()
) -> None:
    """What the copy shows of the payload is agreed; what it does not show is still to be written.

    A copy that is adopted later may have been worked on meanwhile: its base is the payload, so that the work counts.
    """
    target = Side(intent.side)
    shown = values(made)
    ignored = turn.bench.accounts[target].capabilities.create_ignores
    for write in intent.payload["fields"]:
        landed = blank(shown.get(write["name"])) == blank(write["value"]) or not write["known"]
        if landed or write["name"] not in shown:
            turn.advance(target, write["name"], shown.get(write["name"]), write["source"], write["seen"])
        elif adopted and write["name"] not in ignored:
            turn.advance(target, write["name"], write["value"], write["source"], write["seen"])
        else:
            turn.snapshot(target).fields[write["name"]] = shown[write["name"]]
    landed_tags = [(mine, there) for mine, there in intent.payload["tags"] if there in made.tags or adopted]
    turn.snapshot(target).tags = sorted({there for _, there in landed_tags})
    turn.snapshot(target.other).tags = sorted({mine for mine, _ in landed_tags})
    turn.now[target] = made
    if made.comments is not None:
        turn.whole.add(target)
    settlement = Settlement(done=[intent], audit=[turn.audit(target, "create", {"marker": intent.key})])
    settlement.children = _children(turn, target, made.comments or (), intent.payload["comments"])
    settlement.files = held(turn.bench, target, uploads, made.comments or ())
    await turn.settle(settlement, looked=True)


def _children(turn: Turn, target: Side, comments: Sequence[Comment], digests: Mapping[str, str]) -> list[Child]:
    """The comments that the create call carried, known by their markers."""
    children = []
    for comment in comments:
        marker = Marker.parse(comment.marker)
        if marker is None or marker.id not in digests or turn.knows(target, comment.id):
            continue
        ids = {target: comment.id, target.other: marker.id}
        texts = {target: digest(comment), target.other: digests[marker.id]}
        children.append(turn.child(Pair(ids[G], ids[R], texts[G], texts[R], comment.private)))
    return children


def _text(value: Value) -> str | None:
    return None if value is None else str(value)


def _first_contact(ticket: Ticket) -> Person | None:
    """Who asked, where the product has no customers of its own: whoever opened the conversation."""
    opener = next((c.author for c in ticket.comments or () if c.author), None)
    return opener if opener and opener.email else None


def held(bench: Bench, side: Side, uploads: Sequence[Upload], comments: Sequence[Comment]) -> list[File]:
    """What an account holds from now on, so that the same bytes are not uploaded again."""
    if not bench.accounts[side].capabilities.reuses_uploads:
        return []
    urls = {a.file_name: a.url for comment in comments for a in comment.attachments if a.url}
    return [
        File(workspace=bench.workspace, side=side, sha256=u.sha256, file_name=u.file_name, url=url)
        for u in uploads
        if (url := urls.get(u.file_name))
    ]
