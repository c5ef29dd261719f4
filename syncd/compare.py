"""Do two accounts really say the same? Both are read afresh and compared, whatever syncd believes about them.

`differences` is pure. It follows the words of the planner (the translation, the digest of a text), and nothing of what
the store remembers: which ticket belongs to which, and which comment to which, is read from the markers of the copies,
unless somebody who knows it says so.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from syncd import text
from syncd.connector import Change, Connector
from syncd.errors import Gone
from syncd.model import Attachment, Comment, Marker, Side, Ticket, values
from syncd.plan import Rules, Unmapped, agree

G, R = Side.GORGIAS, Side.REMOTE
#: Calls to one account at once.
CONCURRENT = 8
#: How much of a text stands in a sentence about it.
SHOWN = 40

#: Ids at Gorgias and at the remote that are one ticket, or one comment.
Pairs = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Reading:
    """One side as it was read: whole tickets, the sha256 of their files by attachment id, and what is put away."""

    tickets: tuple[Ticket, ...]
    hashes: Mapping[str, str] = field(default_factory=dict)
    put_away: frozenset[str] = frozenset()  # the ids of tickets in the trash, and of spam


async def read(account: Connector, *, files: bool = True) -> Reading:
    """Every ticket of the account with its conversation and, with `files`, the hash of every file's content."""
    gate = asyncio.Semaphore(CONCURRENT)
    changes = [change for stream in account.streams for change in await _changes(account, stream)]
    ids = dict.fromkeys(change.id for change in changes if change.id)
    whole = await asyncio.gather(*(_get(account, ticket_id, gate) for ticket_id in ids))
    found = [ticket for ticket in whole if ticket]
    put_away = frozenset(ticket.id for ticket in found if ticket.hidden or ticket.trashed)
    tickets = tuple(ticket for ticket in found if ticket.id not in put_away)
    return Reading(tickets, await _hashes(account, tickets, gate) if files else {}, put_away)


async def _changes(account: Connector, stream: str) -> list[Change]:
    return [change async for page in account.changes(stream, None) for change in page.changes]


async def _get(account: Connector, ticket_id: str, gate: asyncio.Semaphore) -> Ticket | None:
    async with gate:
        try:
            return await account.get(ticket_id)
        except Gone:  # an old event still names it
            return None


async def _hashes(account: Connector, tickets: Iterable[Ticket], gate: asyncio.Semaphore) -> Mapping[str, str]:
    files = {file.id: file for ticket in tickets for comment in ticket.comments or () for file in comment.attachments}
    found = await asyncio.gather(*(_sha256(account, file, gate) for file in files.values()))
    return dict(zip(files, found, strict=True))


async def _sha256(account: Connector, file: Attachment, gate: asyncio.Semaphore) -> str:
    digest = hashlib.sha256()
    async with gate:
        async for chunk in account.download(file):
            digest.update(chunk)
    return digest.hexdigest()


def linked(rules: Rules, gorgias: Reading, remote: Reading) -> list[tuple[str, str]]:
    """The tickets that are one, by the markers that copies carry."""
    return _pairs(rules, {G: gorgias.tickets, R: remote.tickets})


def paired(rules: Rules, gorgias: Ticket, remote: Ticket) -> list[tuple[str, str]]:
    """The comments that are one, by the markers that copies carry."""
    return _pairs(rules, {G: gorgias.comments or (), R: remote.comments or ()})


def _pairs(rules: Rules, found: Mapping[Side, Sequence[Ticket | Comment]]) -> list[tuple[str, str]]:
    pairs = []
    for side in Side:
        for one in found[side]:
            marker = Marker.parse(one.marker)
            if marker and marker.workspace == rules.workspace and marker.side is side.other:
                pairs.append((one.id, marker.id) if side is G else (marker.id, one.id))
    return pairs


def differences(
    rules: Rules, gorgias: Reading, remote: Reading, *, links: Pairs | None = None, pairs: Pairs | None = None
) -> list[str]:
    """A sentence for everything in which the two sides are not the same; none when they agree.

    `links` and `pairs` say which tickets and which comments are one; by default the markers say so.
    """
    links = linked(rules, gorgias, remote) if links is None else list(links)
    tickets = {G: {one.id: one for one in gorgias.tickets}, R: {one.id: one for one in remote.tickets}}
    said = [sentence for side in Side for sentence in _alone(side, tickets[side], links)]
    known = list(pairs) if pairs is not None else None
    for gorgias_id, remote_id in links:
        mine, theirs = tickets[G].get(gorgias_id), tickets[R].get(remote_id)
        if mine and theirs:
            found = known if known is not None else paired(rules, mine, theirs)
            name = f"{gorgias_id} = {remote_id}"
            sentences = [
                *_fields(rules, mine, theirs),
                *_tags(rules, mine, theirs),
                *_texts(rules, mine, theirs),
                *_comments(mine, theirs, found, {G: gorgias.hashes, R: remote.hashes}),
            ]
            said += [f"{name}: {sentence}" for sentence in sentences]
    return said


def _alone(side: Side, tickets: Mapping[str, Ticket], links: Sequence[tuple[str, str]]) -> Iterable[str]:
    """Tickets of a side that have no copy, or more than one."""
    count = Counter(link[0] if side is G else link[1] for link in links)
    for ticket_id, ticket in tickets.items():
        if count[ticket_id] != 1:
            copies = "no copy" if not count[ticket_id] else f"{count[ticket_id]} copies"
            yield f"{side} {ticket_id} ({_short(ticket.subject)}) has {copies} on the other side"


def _fields(rules: Rules, gorgias: Ticket, remote: Ticket) -> Iterable[str]:
    mine, theirs = values(gorgias), values(remote)
    for names in rules.translator.fields:
        if names[0] not in mine or names[1] not in theirs:
            continue
        said = {G: mine[names[0]], R: theirs[names[1]]}
        # A value for which the other side has no word stays where it is.
        wordless = any(isinstance(rules.translator.across(side, names, said[side]), Unmapped) for side in Side)
        if not wordless and not agree(rules, names, said[G], said[R]):
            yield f"{names[0]} is {said[G]!r} in Gorgias and {said[R]!r} at the remote"


def _tags(rules: Rules, gorgias: Ticket, remote: Ticket) -> Iterable[str]:
    if not rules.tags:
        return
    across, tags = rules.translator.tag_across, {G: gorgias.tags, R: remote.tags}
    for side in Side:
        back = {across(side.other, tag) for tag in tags[side.other]}
        lacking = sorted(t for t in tags[side] if across(side, t) not in tags[side.other] and t not in back)
        if lacking:
            yield f"only {side} has the tags {', '.join(lacking)}"


def _texts(rules: Rules, gorgias: Ticket, remote: Ticket) -> Iterable[str]:
    """Every text stands on both sides, equally often."""
    shown = {rules.digest(comment): comment.body.text for one in (gorgias, remote) for comment in one.comments or ()}
    mine, theirs = (Counter(rules.digest(comment) for comment in one.comments or ()) for one in (gorgias, remote))
    for digest, body in shown.items():
        if mine[digest] != theirs[digest]:
            yield f"{_short(body)!r} stands {mine[digest]} times in Gorgias and {theirs[digest]} times at the remote"


def _comments(gorgias: Ticket, remote: Ticket, pairs: Pairs, hashes: Mapping[Side, Mapping[str, str]]) -> Iterable[str]:
    """Copies are never more public than what they are copies of, and have the same files."""
    mine, theirs = ({comment.id: comment for comment in one.comments or ()} for one in (gorgias, remote))
    for gorgias_id, remote_id in pairs:
        if gorgias_id not in mine or remote_id not in theirs:
            continue
        found = {G: mine[gorgias_id], R: theirs[remote_id]}
        name = _short(found[G].body.text)
        for side in Side:
            if Marker.parse(found[side].marker) and found[side.other].private and not found[side].private:
                yield f"{name!r} is private at {side.other} and public at {side}"
        if hashes[G] or hashes[R]:
            files = {side: _files(found[side], hashes[side]) for side in Side}
            if files[G] != files[R]:
                yield f"{name!r} has the files {_named(files[G])} in Gorgias and {_named(files[R])} at the remote"


def _files(comment: Comment, hashes: Mapping[str, str]) -> Counter[tuple[str, str]]:
    return Counter((text.safe_file_name(one.file_name), hashes.get(one.id, "")) for one in comment.attachments)


def _named(files: Counter[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({sha256[:8]})" for name, sha256 in sorted(files.elements())) or "(none)"


def _short(words: str) -> str:
    return text.shorten(" ".join(words.split()), SHOWN)
