"""What `syncd check --live` finds out about a Redmine: key, project, tracker, fields, rights."""

from collections.abc import Callable, Iterator

from connectors.redmine.account import Account, CustomField, load, tracker_of
from connectors.redmine.client import Client
from connectors.redmine.config import RedmineConfig
from syncd.connector import Finding
from syncd.errors import AccountError, Forbidden, Unauthorized

ACTIVE = 1
NO_ISSUE = "=syncd:no:such:marker"
#: Rights that syncd needs, and what does not work without each.
RIGHTS = {
    "view_issues": ("see issues", "View issues"),
    "add_issues": ("add issues", "Add issues"),
    "edit_issues": ("edit issues", "Edit issues"),
    "add_issue_notes": ("add notes", "Add notes"),
    "view_private_notes": ("see private notes", "View private notes"),
    "set_notes_private": ("write private notes", "Set notes as private"),
    "edit_issue_notes": ("edit notes", "Edit notes"),
}
MAKE_FIELD = (
    "Administration → Custom fields → New → Issues, format Text; tick 'For all projects', "
    "'Used as a filter' and every tracker"
)


async def findings(client: Client, config: RedmineConfig) -> list[Finding]:
    """Everything at once, or the first thing that keeps the rest from being looked at."""
    try:
        account = await load(client, config)
    except Unauthorized:
        hint = "copy the key from 'My account' in Redmine; REST must be on: Administration → Settings → API"
        return [Finding("the API key is accepted", ok=False, hint=hint)]
    except Forbidden as error:
        hint = f"make the key's user a member of {config.project}, and see that it is not archived ({error.status})"
        return [Finding(f"the project {config.project} can be seen", ok=False, hint=hint)]
    except AccountError as error:
        return [Finding(f"Redmine answers at {config.url}", ok=False, hint=error.hint or str(error))]
    looked = [
        Finding(f"Redmine answers at {config.url}, as {account.me.login}", ok=True),
        _open_project(account),
        *_names(account, config),
        *_rights(account, config),
    ]
    if marker := _field(account, config.marker_field):
        looked.append(await _is_filter(client, marker))
    return looked


def _open_project(account: Account) -> Finding:
    project = account.project
    is_open = project.get("status", ACTIVE) == ACTIVE
    return Finding(f"the project {project['identifier']} is open", is_open, "" if is_open else "reopen it")


def _names(account: Account, config: RedmineConfig) -> Iterator[Finding]:
    tracker = _found("tracker", lambda: tracker_of(account, config.tracker))
    yield tracker
    team = config.team_field if config.team_field != "category" else None
    fields = {"marker": config.marker_field, "tags": config.tags_field, "team": team, "contact": config.contact_field}
    for use, name in fields.items():
        if name and (field := _field(account, name)) is None:
            yield Finding(f"the {use} field {name!r} exists", ok=False, hint=MAKE_FIELD)
        elif name and field:
            yield _on_tracker(account, config, use, field, known_tracker=tracker.ok)


def _found(what: str, look: Callable[[], object]) -> Finding:
    try:
        look()
    except AccountError as error:
        return Finding(what, ok=False, hint=str(error))
    return Finding(what, ok=True)


def _field(account: Account, name: str) -> CustomField | None:
    try:
        return account.custom_field(name, "")
    except AccountError:
        return None


def _on_tracker(
    account: Account, config: RedmineConfig, use: str, field: CustomField, *, known_tracker: bool
) -> Finding:
    what = f"the {use} field {field.name!r} is on the tracker"
    if not known_tracker or field.trackers is None:
        return Finding(what, ok=True)
    ok = tracker_of(account, config.tracker) in field.trackers
    return Finding(what, ok, "" if ok else f"tick the tracker in the custom field {field.name!r}")


def _rights(account: Account, config: RedmineConfig) -> Iterator[Finding]:
    for permission, (what, name) in RIGHTS.items():
        ok = account.may(permission)
        hint = "" if ok else f"give {account.me.login} a role in {config.project} with the permission '{name}'"
        yield Finding(f"may {what}", ok, hint)
    if config.impersonate:
        hint = "" if account.me.admin else "only an administrator's key can write in the name of others"
        yield Finding("may write in the name of others", account.me.admin, hint)
    seen = "for everybody who sees the issue" if config.private_files else "left out (private_files)"
    yield Finding(f"files of private notes are {seen}", ok=True)
    limit = config.max_attachment.human_readable()
    yield Finding(f"files up to {limit} (max_attachment; Redmine's own limit cannot be read)", ok=True)


async def _is_filter(client: Client, marker: CustomField) -> Finding:
    """Redmine ignores a filter on a field that is none, and then lists everything."""
    answer = await client.issues({"limit": "1", f"cf_{marker.id}": NO_ISSUE})
    ok = marker.filterable is not False and answer["total_count"] == 0
    hint = "" if ok else f"tick 'Used as a filter' in the custom field {marker.name!r}"
    return Finding(f"issues can be searched by {marker.name!r}", ok, hint)
