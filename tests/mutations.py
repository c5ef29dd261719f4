"""The rules of the engine, each with the change that takes it out and the test that must then fail: data.

`make mutants` (`tests/mutants.py`) applies each to a copy of the tree and runs its test there. A unit test checks that
every change still applies to the source as it is, and that docs/how-sync-works.md shows this table
(`python -m tests.mutations` writes it anew).
"""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "how-sync-works.md"
BEGIN, END = "<!-- mutants: begin (python -m tests.mutations) -->", "<!-- mutants: end -->"


@dataclass(frozen=True)
class Mutant:
    """What is changed and what that breaks; where, from what to what; and the test that notices."""

    what: str
    breaks: str
    file: str
    old: str
    new: str
    caught_by: str


MUTANTS = (
    Mutant(
        "the intent of a create is stored only after it",
        "a crash in between leaves a ticket that nobody knows of",
        "syncd/creating.py",
        '        (intent,) = await turn.begin([turn.intent(target, "create", marker, payload)])\n'
        "        try:\n"
        "            made = await turn.bench.accounts[target].create(copy, marker, uploads)\n",
        '        intent = turn.intent(target, "create", marker, payload)\n'
        "        try:\n"
        "            made = await turn.bench.accounts[target].create(copy, marker, uploads)\n"
        "            (intent,) = await turn.begin([intent])\n",
        "tests/faults/test_every_step.py::test_every_step[create where the feed tells only ids]",
    ),
    Mutant(
        "the intents of an update are dropped",
        "a value that was taken back while syncd was down comes back",
        "syncd/applying.py",
        "    intents = await turn.begin([step.intent for step in steps])\n",
        "    turn.unit.link, _ = await turn.bench.store.begin(turn.bench.lease, turn.link, [])\n"
        "    intents = [step.intent for step in steps]\n",
        "tests/faults/test_every_step.py::test_every_step[revert of a field during the crash]",
    ),
    Mutant(
        "the marker is set after the create, in a call of its own",
        "a crash in between leaves a ticket that is made again",
        "connectors/memory.py",
        "            ticket_id = desk.open(ticket, marker)\n",
        "            ticket_id = desk.open(ticket, None)\n"
        '        async with self._call("update"):\n'
        "            desk.tickets[ticket_id] = replace(desk.tickets[ticket_id], marker=marker)\n",
        "tests/faults/test_every_step.py::test_every_step[create at the remote]",
    ),
    Mutant(
        "a copied comment carries no marker",
        "a comment whose answer was lost is added once more",
        "syncd/plan.py",
        "    copy = replace(comment, marker=marker, private=_private_there(rules, side, comment))\n",
        "    copy = replace(comment, marker=None, private=_private_there(rules, side, comment))\n",
        "tests/faults/test_every_step.py::test_every_step[comments and files]",
    ),
    Mutant(
        "what our own account said is dropped as an echo",
        "people and rules that share the account are not heard",
        "syncd/plan.py",
        '    if f"{side.other}:comment:{comment.id}" in state.parked:\n        return\n',
        '    if comment.author and comment.author.name == "syncd":\n        return\n',
        "tests/faults/test_engine.py::test_what_our_own_account_says_is_news",
    ),
    Mutant(
        "what changes soon after a write is dropped as its echo",
        "an edit that a person makes just then is not seen",
        "syncd/notice.py",
        "            echo = echo or settled(change.row, snapshot, resolution) or looks_the_same(change.row, snapshot)",
        "            echo = snapshot.read_at is not None and bench.now() - snapshot.read_at < timedelta(seconds=30)",
        "tests/faults/test_engine.py::test_an_edit_right_after_a_write_is_found",
    ),
    Mutant(
        "the watermark becomes the present, not the newest time seen",
        "what is shown late is never read",
        "connectors/memory.py",
        "            newest = max(last[0], found[-1].updated_at or START)\n",
        "            newest = self.desk.now()\n",
        "tests/faults/test_engine.py::test_a_clock_that_is_wrong_hides_nothing",
    ),
    Mutant(
        "the watermark of Gorgias's tickets becomes the present",
        "an account whose clock is behind ours is never read again",
        "connectors/gorgias/feeds.py",
        'iso(self._not_ahead(newest)) if newest else cursor or "")',
        'iso(datetime.now(UTC)) if newest else cursor or "")',
        "tests/contract/test_gorgias_traps.py::test_an_account_whose_clock_is_behind_hides_nothing",
    ),
    Mutant(
        "the watermark of Gorgias's events becomes the present",
        "an account whose clock is behind ours is never read again",
        "connectors/gorgias/feeds.py",
        "(found := change(row))), iso(mark))",
        "(found := change(row))), iso(datetime.now(UTC)))",
        "tests/contract/test_gorgias_traps.py::test_an_account_whose_clock_is_behind_hides_nothing",
    ),
    Mutant(
        "the watermark moves before what it passes is stored",
        "a crash in between loses a page of changes",
        "syncd/notice.py",
        "    bench.report.noticed += await bench.store.notice(bench.lease, side, notices, stream, page.cursor)\n",
        "    await bench.store.notice(bench.lease, side, [], stream, page.cursor)\n"
        "    bench.report.noticed += await bench.store.notice(bench.lease, side, notices, stream, page.cursor)\n",
        "tests/faults/test_every_step.py::test_every_step[a subject that is shortened]",
    ),
    Mutant(
        "events are read without an overlap",
        "what Gorgias shows late is never read",
        "connectors/gorgias/feeds.py",
        "        return mark - timedelta(seconds=self._overlap if full else min(SHORT_OVERLAP, self._overlap))\n",
        "        return mark\n",
        "tests/contract/test_gorgias_traps.py::test_events_that_show_up_late_are_shown",
    ),
    Mutant(
        "tags are replaced as a whole",
        "a tag that somebody added on the other side is lost",
        "syncd/plan.py",
        "    for tag in sorted(before - mine):\n"
        "        copies = (_copies(rules, source, tag, theirs) - kept) & (state.base[target].tags or frozenset())\n",
        "    for tag in sorted((before | theirs) - mine if mine != before else ()):\n"
        "        copies = _copies(rules, source, tag, theirs) - kept\n",
        "tests/faults/test_engine.py::test_edits_on_both_sides_meet",
    ),
    Mutant(
        "a copy that searches do not show yet is not waited for",
        "it is made again",
        "syncd/work.py",
        "    if wait > timedelta():\n",
        "    if wait > timedelta(days=1):\n",
        "tests/faults/test_every_step.py::test_every_step[create where the feed tells only ids]",
    ),
    Mutant(
        "the record's time decides, not the field's",
        "of two edits the earlier one wins",
        "syncd/plan.py",
        "    moment = ticket.times.get(name, ticket.updated_at)\n",
        "    moment = ticket.updated_at\n",
        "tests/faults/test_engine.py::test_the_later_edit_of_one_field_wins",
    ),
    Mutant(
        "the difference of the clocks is ignored",
        "of two edits the one whose clock is ahead wins",
        "syncd/plan.py",
        "    return moment - rules.skew.get(side, timedelta()) if moment else None\n",
        "    return moment\n",
        "tests/unit/test_plan.py::test_the_later_edit_of_a_field_wins",
    ),
    Mutant(
        "the loser of a conflict is not kept",
        "nobody can take back what was overwritten",
        "syncd/applying.py",
        "conflicts=[turn.conflict(clash) for clash in todo.clashes]",
        "conflicts=[]",
        "tests/faults/test_engine.py::test_the_later_edit_of_one_field_wins",
    ),
    Mutant(
        "a copy that is found again is linked without a base",
        "what people did to it meanwhile is overwritten",
        "syncd/creating.py",
        '        elif adopted and write["name"] not in ignored:\n',
        '        elif adopted and write["name"] not in ignored and False:\n',
        "tests/faults/test_every_step.py::test_every_step[edit of a copy not known yet]",
    ),
    Mutant(
        "what landed of a stored write is not looked for",
        "a value that was taken back while syncd was down comes back",
        "syncd/work.py",
        '            if blank(shown.get(write["name"])) == blank(write["value"]):\n',
        "            if False:\n",
        "tests/faults/test_every_step.py::test_every_step[revert of a field during the crash]",
    ),
    Mutant(
        "what landed of a stored tag is not looked for",
        "a tag that was taken off while syncd was down comes back",
        "syncd/work.py",
        '            if (write["tag"] in tags) == (write["kind"] == "add"):\n',
        "            if False:\n",
        "tests/faults/test_every_step.py::test_every_step[revert of a tag during the crash]",
    ),
    Mutant(
        "a write that landed settles the whole snapshot",
        "an edit that a person made meanwhile counts as known, and is overwritten",
        "syncd/turn.py",
        "        self.snapshot(target).fields[name] = shown\n",
        "        self.snapshot(target).fields[name] = shown\n"
        "        self.snapshot(target).fields.update({k: v for k, v in values(self.now[target]).items()})\n",
        "tests/faults/test_races.py::test_whenever_somebody_acts_nothing_is_lost[another field at the destination]",
    ),
    Mutant(
        "values are compared as sent, not as the product will show them",
        "what a product shortens is written again and again",
        "syncd/translate.py",
        "        return said if isinstance(said, Unmapped) else self._accounts[target].canonical(name, said)\n",
        "        return said\n",
        "tests/faults/test_every_step.py::test_every_step[a subject that is shortened]",
    ),
    Mutant(
        "a private comment becomes public",
        "a customer reads what was meant for agents",
        "syncd/plan.py",
        "    return comment.private or (source is R and not rules.public_to_gorgias)\n",
        "    return source is R and not rules.public_to_gorgias\n",
        "tests/unit/test_plan.py::test_every_comment_is_copied_once_and_never_less_private",
    ),
    Mutant(
        "what the remote says becomes public at Gorgias",
        "a customer reads what was meant for agents",
        "syncd/creating.py",
        "    hidden = comment.private or (source is R and not bench.rules.public_to_gorgias)\n",
        "    hidden = comment.private\n",
        "tests/faults/test_engine.py::test_a_remote_ticket_gets_its_copy",
    ),
    Mutant(
        "an imported message carries no sent_datetime",
        "Gorgias mails it to the customer",
        "connectors/gorgias/outgoing.py",
        '        return {"channel": "api", "via": "api", "from_agent": True, "public": True, "sent_datetime": sent}\n',
        '        return {"channel": "api", "via": "api", "from_agent": True, "public": True} if sent else {}\n',
        "tests/contract/test_gorgias_mail.py::test_no_sequence_of_writes_mails_anybody",
    ),
    Mutant(
        "an edited message may become public",
        "a customer reads what was meant for agents",
        "connectors/gorgias/outgoing.py",
        'public = bool(before.get("public", True)) and before["channel"] != mapping.NOTE and not after.private',
        'public = before["channel"] != mapping.NOTE',
        "tests/contract/test_gorgias_mail.py::test_no_sequence_of_writes_mails_anybody",
    ),
    Mutant(
        "a deleted ticket leaves no tombstone",
        "it is made again from its copy",
        "syncd/engine.py",
        '        link.state = "deleted"\n',
        "        link.gorgias_id = None if gone.side is Side.GORGIAS else link.gorgias_id\n"
        "        link.remote_id = None if gone.side is Side.REMOTE else link.remote_id\n",
        "tests/faults/test_engine.py::test_a_deleted_ticket_stays_deleted_whatever_happens_to_its_copy",
    ),
    Mutant(
        "the mass-delete guard is off",
        "an accident on one side closes everything on the other",
        "syncd/engine.py",
        "        if len(self._gone) > limit and not self.bench.force:\n",
        "        if False:\n",
        "tests/faults/test_engine.py::test_the_mass_delete_guard_stops",
    ),
    Mutant(
        "the guard of listings is off",
        "a list that is far too short is taken for the whole",
        "syncd/notice.py",
        "    if known > bench.sync.guard_floor and listed < known * bench.sync.listing_share and not bench.force:\n",
        "    if False:\n",
        "tests/faults/test_engine.py::test_a_listing_that_is_far_too_short_stops",
    ),
    Mutant(
        "an edit does not beat a delete",
        "what somebody still works on is closed",
        "syncd/engine.py",
        "            if await self._edited_since(unit, gone.side.other, other):\n",
        "            if False:\n",
        "tests/faults/test_engine.py::test_an_edit_beats_a_delete",
    ),
    Mutant(
        "a merged ticket counts as deleted",
        "the copy of a conversation that goes on elsewhere is closed",
        "syncd/engine.py",
        "        if gone.to is not None and await self._repoint(unit, gone, settlement):\n",
        "        if False:\n",
        "tests/faults/test_engine.py::test_a_merged_tickets_link_goes_to_the_survivor",
    ),
    Mutant(
        "the loop breaker is off",
        "two products that disagree write to each other for ever",
        "syncd/bench.py",
        "        if len(times) >= self._limit:\n",
        "        if False:\n",
        "tests/faults/test_engine.py::test_a_field_that_is_changed_back_each_time_is_stopped",
    ),
    Mutant(
        "a value that is refused fails its whole ticket",
        "one field holds up all the others",
        "syncd/applying.py",
        "        except REFUSALS as error:\n            await _one_by_one(",
        "        except VersionConflict as error:\n            await _one_by_one(",
        "tests/faults/test_engine.py::test_a_refused_field_is_parked_and_the_rest_goes_on",
    ),
    Mutant(
        "the lease is not looked at when work is recorded",
        "two processes write everything twice",
        "state/door.py",
        "    if epochs[lease.workspace] != lease.epoch:\n",
        "    if False:\n",
        "tests/faults/test_races.py::test_a_process_that_lost_its_workspace_records_nothing_more",
    ),
    Mutant(
        "a write whose answer was lost is sent again at once",
        "it is done twice",
        "syncd/http.py",
        "            kind = TryLater if call.safe else OutcomeUnknown\n            message = (\n",
        "            kind = TryLater\n            message = (\n",
        "tests/unit/test_http.py::test_a_write_is_never_repeated",
    ),
    Mutant(
        "HTML is not sanitised",
        "a script of one side runs in the other side's pages",
        "syncd/text/clean.py",
        "    for _ in range(_PASSES):\n        before, html = html, _clean(html)\n",
        "    for _ in range(_PASSES):\n        before = html\n",
        "tests/unit/test_text.py::test_sanitise_removes_what_acts",
    ),
    Mutant(
        "a value without a word on the other side counts as none",
        "an agent whom the other side does not know clears the assignee there",
        "syncd/plan.py",
        "    if isinstance(value, Unmapped):\n"
        "        result.unmapped.append((source, name[source], seen))\n        return False\n",
        "    if isinstance(value, Unmapped):\n        value = None\n",
        "tests/unit/test_plan.py::test_a_value_without_a_word_changes_nothing_there",
    ),
    Mutant(
        "one-way sync writes both ways",
        "a side that shall only be read is written to",
        "syncd/plan.py",
        '    if target not in rules.to or f"{target}:{name[target]}" in state.parked:\n',
        '    if f"{target}:{name[target]}" in state.parked:\n',
        "tests/faults/test_engine.py::test_one_way_sync_writes_to_one_side_only",
    ),
    Mutant(
        "a file's name is used as it is",
        "a name that is a path is one to the next who stores the file",
        "syncd/files.py",
        "    name = text.safe_file_name(attachment.file_name)\n",
        "    name = attachment.file_name\n",
        "tests/faults/test_files.py::test_a_files_name_leads_nowhere",
    ),
    Mutant(
        "HTML of the other side is passed on as it is",
        "a script of one side runs in the other side's pages",
        "connectors/gorgias/mapping.py",
        "    html = text.sanitise(said.body.html) if said.body.html else text.text_to_html(plain)\n",
        "    html = said.body.html or text.text_to_html(plain)\n",
        "tests/contract/test_privacy.py::test_html_of_neither_side_acts_on_the_other",
    ),
    Mutant(
        "a name that leads to a private address is asked",
        "a file's address makes syncd ask servers inside its own network",
        "syncd/addresses.py",
        '        public = [entry for entry in found if ipaddress.ip_address(entry["host"]).is_global]\n',
        "        public = found\n",
        "tests/unit/test_http_files.py::test_a_private_address_is_forbidden",
    ),
)  # fmt: skip


def table() -> str:
    """The mutants, as the page shows them."""
    rows = ["| change | what it breaks | caught by |", "| --- | --- | --- |"]
    rows += [f"| {one.what} | {one.breaks} | {_test(one.caught_by)} |" for one in MUTANTS]
    return "\n".join(rows)


def _test(node: str) -> str:
    file, _, name = node.partition("::")
    return f"`{Path(file).name}`: {name.removeprefix('test_')}"


def filled(page: str) -> str:
    """The page with the table between its two markers."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
