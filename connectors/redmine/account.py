"""What is known of a Redmine before the first issue is read: who we are, and the numbers behind its names."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

from connectors.redmine.client import Client, Json
from connectors.redmine.config import RedmineConfig
from syncd.errors import Forbidden, Gone, TryLater
from syncd.model import User

#: Redmine's formats of custom fields and what they are here; one whose format is not known is a string.
FORMATS: Mapping[str, Literal["string", "text", "number", "boolean", "date", "enum", "user"]] = {
    "string": "string",
    "text": "text",
    "link": "string",
    "int": "number",
    "float": "number",
    "bool": "boolean",
    "date": "date",
    "list": "enum",
    "enumeration": "enum",
    "user": "user",
    "version": "string",
}


@dataclass(frozen=True, slots=True)
class CustomField:
    """A custom field of issues; `format` is empty where only its name and number are known.

    `options` are (stored value, label) pairs. `trackers` and `filterable` are None where they are not known.
    """

    id: int
    name: str
    format: str = ""
    multiple: bool = False
    required: bool = False
    options: tuple[tuple[str, str], ...] = ()
    trackers: frozenset[int] | None = None
    filterable: bool | None = None


@dataclass(frozen=True, slots=True)
class Me:
    """The user whose key we use."""

    id: str
    login: str
    name: str
    admin: bool
    roles: frozenset[int]


@dataclass(frozen=True, slots=True)
class Account:
    """The words of a Redmine and of our project in it."""

    me: Me
    project: Json
    trackers: Mapping[str, int]
    statuses: Mapping[str, int]
    closed: frozenset[str]
    priorities: Mapping[str, int]
    categories: Mapping[str, int]
    fields: tuple[CustomField, ...]
    users: tuple[User, ...] = ()
    logins: Mapping[str, str] = field(default_factory=dict)
    member_roles: Mapping[str, frozenset[int]] = field(default_factory=dict)
    permissions: Mapping[int, frozenset[str]] = field(default_factory=dict)

    def may(self, permission: str, user_id: str | None = None) -> bool:
        """Whether a user (by default ourselves) has a permission in the project."""
        if user_id is None or user_id == self.me.id:
            if self.me.admin:
                return True
            roles = self.me.roles
        else:
            roles = self.member_roles.get(user_id, frozenset())
        return any(permission in self.permissions.get(role, ()) for role in roles)

    def custom_field(self, name: str, option: str) -> CustomField:
        """The custom field with this name or number. Raises TryLater with the names that exist."""
        for candidate in self.fields:
            if candidate.name == name:
                return candidate
        if name.isdigit():
            known = {candidate.id: candidate for candidate in self.fields}
            return known.get(int(name), CustomField(int(name), name))
        raise TryLater(f"Redmine has no custom field {name!r} of issues ({option})", hint=self._field_hint())

    def _field_hint(self) -> str:
        if self.fields:
            return f"there are {listed(item.name for item in self.fields)}"
        return (
            "only an administrator's key can list custom fields, and no issue shows one yet: "
            "create an issue by hand, or give the field's number"
        )


@dataclass(frozen=True, slots=True)
class Names:
    """The account with the names of the configuration resolved."""

    account: Account
    tracker: int
    marker: CustomField
    tags: CustomField | None
    team: CustomField | None
    contact: CustomField | None
    known: Mapping[int, CustomField]

    @property
    def special(self) -> frozenset[int]:
        """The custom fields that are not fields of the ticket but something else of it."""
        return frozenset(item.id for item in (self.marker, self.tags, self.team, self.contact) if item)

    def by_name(self, name: str) -> CustomField | None:
        """The custom field that a ticket's field of this name is, if there is one."""
        return next((item for item in self.plain_fields if item.name == name), None)

    @property
    def plain_fields(self) -> list[CustomField]:
        """The custom fields that are fields of a ticket: one value each, and none of the special ones."""
        return [item for item in self.account.fields if is_plain(item) and item.id not in self.special]


def resolve(account: Account, config: RedmineConfig) -> Names:
    """The names of the configuration as numbers. Raises TryLater with the names that exist."""
    team = config.team_field
    return Names(
        account=account,
        tracker=tracker_of(account, config.tracker),
        marker=account.custom_field(config.marker_field, "marker_field"),
        tags=account.custom_field(config.tags_field, "tags_field") if config.tags_field else None,
        team=account.custom_field(team, "team_field") if team not in {"", "category"} else None,
        contact=account.custom_field(config.contact_field, "contact_field") if config.contact_field else None,
        known={item.id: item for item in account.fields},
    )


def tracker_of(account: Account, name: str | None) -> int:
    """The tracker with this name, or the project's first one. Raises TryLater with the names that exist."""
    if name is None and account.trackers:
        return next(iter(account.trackers.values()))
    if name is None or name not in account.trackers:
        raise TryLater(
            f"the project {account.project['identifier']} has no tracker {name!r}",
            hint=f"there are {listed(account.trackers)}",
        )
    return account.trackers[name]


def is_plain(item: CustomField) -> bool:
    """Whether a custom field holds one value that can be written as text."""
    return not item.multiple and (not item.format or item.format in FORMATS)


def listed(names: Any) -> str:
    """Names in one line."""
    return ", ".join(map(str, names)) or "none"


# -- reading it -------------------------------------------------------------------------------------------------


async def load(client: Client, config: RedmineConfig) -> Account:
    """Everything of the account: seven calls with an administrator's key, else six and one for each of our roles."""
    user = await client.whoami()
    project = await _project(client, config.project)
    admin = bool(user.get("admin"))
    statuses, priorities, fields, members, logins = await asyncio.gather(
        client.read("/issue_statuses.json", "issue_statuses"),
        client.read("/enumerations/issue_priorities.json", "issue_priorities"),
        _fields(client, project, config, admin),
        _members(client, project),
        _logins(client, admin),
    )
    me = Me(str(user["id"]), user["login"], full_name(user), admin, own_roles(user, project))
    member_roles = {member["user"]["id"]: roles_of(member) for member in members if "user" in member}
    needed = me.roles if not admin else frozenset[int]()
    if config.impersonate:
        needed = needed.union(*member_roles.values())
    return Account(
        me=me,
        project=project,
        trackers={row["name"]: row["id"] for row in project.get("trackers", ())},
        statuses={row["name"]: row["id"] for row in statuses},
        closed=frozenset(row["name"] for row in statuses if row.get("is_closed")),
        priorities={row["name"]: row["id"] for row in priorities if row.get("active", True)},
        categories={row["name"]: row["id"] for row in project.get("issue_categories", ())},
        fields=fields,
        users=tuple(_user(member["user"], logins) for member in members if "user" in member),
        logins={str(row["mail"]).lower(): row["login"] for row in logins.values() if row.get("mail")},
        member_roles={str(user_id): roles for user_id, roles in member_roles.items()},
        permissions=await _permissions(client, needed),
    )


async def _project(client: Client, name: str) -> Json:
    include = "trackers,issue_categories,issue_custom_fields"
    try:
        return dict(await client.read(f"/projects/{quote(name, safe='')}.json", "project", {"include": include}))
    except Gone as error:
        raise TryLater(
            f"Redmine has no project {name!r}", status=404, hint="give its identifier, the last part of its address"
        ) from error


async def _fields(client: Client, project: Json, config: RedmineConfig, admin: bool) -> tuple[CustomField, ...]:
    """The definitions, which only an administrator may read; else what the newest issue shows of them."""
    if admin:
        rows = await client.read("/custom_fields.json", "custom_fields")
        return tuple(defined(row) for row in rows if row.get("customized_type") == "issue")
    query = {"project_id": str(project["id"]), "sort": "id:desc", "limit": "1"}
    trackers = {row["name"]: row["id"] for row in project.get("trackers", ())}
    if config.tracker in trackers:
        query["tracker_id"] = str(trackers[config.tracker])
    issues = (await client.issues(query))["issues"]
    shown = [
        *project.get("issue_custom_fields", ()),
        *(row for issue in issues for row in issue.get("custom_fields", ())),
    ]
    known = {row["id"]: CustomField(row["id"], row["name"], multiple=bool(row.get("multiple"))) for row in shown}
    return tuple(known.values())


def defined(row: Json) -> CustomField:
    """A custom field as its definition describes it."""
    return CustomField(
        id=row["id"],
        name=row["name"],
        format=row.get("field_format") or "",
        multiple=bool(row.get("multiple")),
        required=bool(row.get("is_required")),
        options=tuple((str(item["value"]), str(item["label"])) for item in row.get("possible_values") or ()),
        trackers=frozenset(tracker["id"] for tracker in row.get("trackers") or ()),
        filterable=bool(row.get("is_filter")),
    )


async def _members(client: Client, project: Json) -> list[Json]:
    try:
        return await client.every(f"/projects/{project['id']}/memberships.json", "memberships")
    except Forbidden:  # who is no member reads a public project, but not its members
        return []


async def _logins(client: Client, admin: bool) -> dict[int, Json]:
    """Login and address of every active user, which only an administrator may read."""
    rows = await client.every("/users.json", "users") if admin else []
    return {row["id"]: row for row in rows}


async def _permissions(client: Client, roles: frozenset[int]) -> dict[int, frozenset[str]]:
    found = await asyncio.gather(*(client.read(f"/roles/{role}.json", "role") for role in sorted(roles)))
    return {role["id"]: frozenset(role["permissions"]) for role in found}


def _user(row: Json, logins: Mapping[int, Json]) -> User:
    known = logins.get(row["id"], {})
    active = bool(known) or not logins
    return User(str(row["id"]), row["name"], known.get("mail") or None, active, known.get("login"))


def full_name(user: Json) -> str:
    """A user's name as Redmine writes it by default."""
    return f"{user.get('firstname', '')} {user.get('lastname', '')}".strip() or str(user["login"])


def own_roles(user: Json, project: Json) -> frozenset[int]:
    """Our roles in the project."""
    ours = (item for item in user.get("memberships", ()) if item["project"]["id"] == project["id"])
    return frozenset[int]().union(*(roles_of(item) for item in ours))


def roles_of(membership: Json) -> frozenset[int]:
    """The roles of one membership."""
    return frozenset(role["id"] for role in membership.get("roles", ()))
