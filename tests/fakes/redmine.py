"""A Redmine 5.0 at the wire, with its traps: what it drops, ignores and gives away without saying so.

`Redmine` is the state and acts as people do; `app()` serves it. Differences from the real one that tests rely on: a
clock that can be moved (`ahead`), what an administrator sets (`login_required`, `filterable`, `permissions`), and what
is dropped without a word (`dropped`).
"""

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from tests.fakes.redmine_words import (
    CATEGORIES,
    CHANNEL,
    CLOSED,
    FIELDS,
    LABELS,
    MULTIPLE,
    PERMISSIONS,
    PRIORITIES,
    SEVERITY,
    STATUSES,
    TRACKERS,
    USERS,
    Json,
    Problem,
    account,
    custom,
    detail,
    filtered,
    found,
    later,
    listing,
    mail,
    numbered,
    project,
    reply,
    stamp,
    to_text,
)

MAX_FILE = 5120 * 1024
PLAIN = ("subject", "description", "status_id", "priority_id", "category_id", "assigned_to_id", "start_date")


class Redmine:
    """The state of one server."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        self.login_required = False
        self.filterable = {number for number, _, _ in FIELDS}
        self.keys = {user["key"]: user for user in USERS}
        self.permissions = {role: set(names.split()) for role, names in PERMISSIONS.items()}
        self.categories = dict(CATEGORIES)
        self.issues: dict[int, Json] = {}
        self.files: dict[int, Json] = {}
        self.tokens: dict[str, int] = {}
        self.calls: Counter[str] = Counter()
        self.dropped: set[str] = set()
        self.locked: set[str] = set()
        self.after: Callable[[web.Request], Awaitable[None]] | None = None
        self._ids = {kind: itertools.count(1) for kind in ("issue", "journal", "file")}
        self._last = datetime.min.replace(tzinfo=UTC)

    def app(self) -> web.Application:
        """The server."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self.serve)
        return app

    def now(self) -> datetime:
        """The server's clock: never twice the same microsecond."""
        self._last = max(datetime.now(UTC) + self.ahead, self._last + timedelta(microseconds=1))
        return self._last

    # -- the wire -----------------------------------------------------------------------------------------------

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a call, and count it."""
        self.calls[request.method + " " + re.sub(r"\d+", "N", request.path)] += 1
        try:
            response = await self._answer(request)
        except Problem as problem:
            body = json.dumps({"errors": problem.errors}) if problem.status == 422 else ""
            response = web.Response(status=problem.status, text=body, content_type="application/json")
        response.headers["Date"] = format_datetime(datetime.now(UTC) + self.ahead, usegmt=True)
        if self.after:
            await self.after(request)
        return response

    async def _answer(self, request: web.Request) -> web.Response:
        user = self._user(request)
        path = request.path
        if path == "/uploads.json":
            return reply(201, {"upload": await self._upload(request, user)})
        if match := re.fullmatch(r"/attachments/download/(\d+)(?:/.*)?", path):
            file = found(self.files, match[1])
            return web.Response(body=file["content"], headers={"Content-Type": "application/octet-stream"})
        for pattern, handler in self._routes():
            if (match := re.fullmatch(pattern, request.method + " " + path)) is not None:
                body = await request.json() if request.method in {"POST", "PUT"} else {}
                return await handler(request, user, body, *match.groups())
        raise Problem(404)

    def _routes(self) -> list[tuple[str, Callable[..., Awaitable[web.Response]]]]:
        return [
            (r"GET /issues\.json", self._list),
            (r"POST /issues\.json", self._create),
            (r"GET /issues/(\d+)\.json", self._show),
            (r"PUT /issues/(\d+)\.json", self._update),
            (r"DELETE /issues/(\d+)\.json", self._delete),
            (r"PUT /journals/(\d+)\.json", self._journal),
            (r"POST /projects/1/issue_categories\.json", self._new_category),
            (r"(PUT|DELETE) /issue_categories/(\d+)\.json", self._category),
            (r"GET /(.+)\.json", self._words),
        ]

    def _user(self, request: web.Request) -> Json | None:
        """Whose key it is; a read with a bad one is nobody's, a write is refused."""
        user = self.keys.get(request.headers.get("X-Redmine-API-Key", ""))
        must = request.method != "GET" or self.login_required or request.path == "/users/current.json"
        if user is None and must:
            raise Problem(401)
        login = request.headers.get("X-Redmine-Switch-User")
        if user and user["admin"] and login:
            user = next((other for other in USERS if other["login"] == login and login not in self.locked), None)
            if user is None:
                raise Problem(412)
        return user

    def may(self, user: Json | None, permission: str) -> bool:
        """Whether a user has a permission; anonymous ones see issues and nothing else."""
        if user is None:
            return permission == "view_issues"
        return user["admin"] or permission in self.permissions[user["role"]]

    # -- issues -------------------------------------------------------------------------------------------------

    async def _list(self, request: web.Request, user: Json | None, _body: Json) -> web.Response:
        query = request.query
        ids = query.get("issue_id", "").split(",") if "issue_id" in query else None
        if ids and len(ids) > 250:
            raise Problem(500)
        rows = [issue for issue in self.issues.values() if self._matches(issue, query, ids)]
        for key in reversed(query.get("sort", "id:desc").split(",")):
            name, _, order = key.partition(":")
            if name in {"id", "updated_on"}:
                rows.sort(key=lambda issue, name=name: issue[name], reverse=order == "desc")
        limit = int(query.get("limit", "25"))
        limit, offset = min(limit, 100) if limit > 0 else 25, int(query.get("offset", "0"))
        shown = [self._shown(issue, user, set()) for issue in rows[offset : offset + limit]]
        return reply(200, {"issues": shown, "total_count": len(rows), "offset": offset, "limit": limit})

    def _matches(self, issue: Json, query: Any, ids: list[str] | None) -> bool:
        if query.get("status_id", "open") == "open" and issue["status_id"] in CLOSED:
            return False
        if "project_id" in query and str(issue["project_id"]) != query["project_id"] != "support":
            return False
        if "tracker_id" in query and str(issue["tracker_id"]) != query["tracker_id"]:
            return False
        if ids is not None and str(issue["id"]) not in ids:
            return False
        if "updated_on" in query and not later(issue["updated_on"], query["updated_on"]):
            return False
        wanted = {int(name[3:]): value for name, value in query.items() if re.fullmatch(r"cf_\d+", name)}
        return all(
            filtered(issue["custom"].get(number), value)
            for number, value in wanted.items()
            if number in self.filterable
        )

    async def _show(self, request: web.Request, user: Json | None, _body: Json, number: str) -> web.Response:
        issue = found(self.issues, number)
        if issue["project_id"] != 1 and not (user and user["admin"]):
            raise Problem(403 if user else 401)
        return reply(200, {"issue": self._shown(issue, user, set(request.query.get("include", "").split(",")))})

    def _shown(self, issue: Json, user: Json | None, include: set[str]) -> Json:
        shown = {name: issue[name] for name in ("id", "subject", "description", "start_date")}
        shown["project"] = {"id": issue["project_id"], "name": "Support"}
        shown["tracker"] = {"id": issue["tracker_id"], "name": TRACKERS[issue["tracker_id"]]}
        status = issue["status_id"]
        shown["status"] = {"id": status, "name": STATUSES[status], "is_closed": status in CLOSED}
        shown["priority"] = {"id": issue["priority_id"], "name": PRIORITIES[issue["priority_id"]]}
        shown["author"] = self._named(issue["author"])
        if issue.get("assigned_to_id"):
            shown["assigned_to"] = self._named(issue["assigned_to_id"])
        if issue.get("category_id"):
            shown["category"] = {"id": issue["category_id"], "name": self.categories[issue["category_id"]]}
        shown["custom_fields"] = [custom(issue, number, name) for number, name, _ in FIELDS]
        shown |= {name: stamp(issue[name]) for name in ("created_on", "updated_on")}
        if "attachments" in include:
            shown["attachments"] = [self._file(number) for number in issue["files"]]
        if "journals" in include:
            shown["journals"] = [self._note(note) for note in reversed(issue["journals"]) if self._sees(user, note)]
        if "watchers" in include and self.may(user, "view_issue_watchers"):
            shown["watchers"] = []
        if "children" in include and (children := self._children(issue)):
            shown["children"] = [{"id": child["id"]} for child in children]
        return shown

    def _children(self, issue: Json) -> list[Json]:
        return [other for other in self.issues.values() if other["parent"] == issue["id"]]

    def _sees(self, user: Json | None, note: Json) -> bool:
        return not note["private_notes"] or self.may(user, "view_private_notes")

    def _named(self, number: int) -> Json:
        user = next(user for user in USERS if user["id"] == int(number))
        return {"id": user["id"], "name": f"{user['firstname']} {user['lastname']}"}

    def _note(self, note: Json) -> Json:
        return {**note, "user": self._named(note["user"]), "created_on": stamp(note["created_on"])}

    def _file(self, number: int) -> Json:
        file = self.files[number]
        shown = {name: file[name] for name in ("id", "filename", "filesize", "content_type", "description")}
        return {**shown, "content_url": f"http://inside.example/attachments/download/{number}/{file['filename']}"}

    async def _create(self, _request: web.Request, user: Json, body: Json) -> web.Response:
        given = body["issue"]
        if given.get("project_id") not in {1, "1", "support"} or not self.may(user, "add_issues"):
            raise Problem(422, "Project cannot be blank", "Tracker cannot be blank", "Status cannot be blank")
        attributes = {name: value for name, value in given.items() if name in PLAIN and name != "status_id"}
        attributes = self._checked(attributes)
        values = self._checked_custom(given.get("custom_fields", ()))
        files = self._claimed(given.get("uploads", ()))
        at = self.now()
        issue: Json = dict.fromkeys(PLAIN) | {
            "id": next(self._ids["issue"]),
            "status_id": 1,
            "priority_id": 2,
        }
        issue |= {"project_id": 1, "tracker_id": given.get("tracker_id", 1), "author": user["id"], "journals": []}
        issue |= {"created_on": at, "updated_on": at, "custom": values, "files": files, "parent": given.get("parent")}
        issue |= attributes
        self.issues[issue["id"]] = issue
        return reply(201, {"issue": self._shown(issue, user, set(_request.query.get("include", "").split(",")))})

    async def _update(self, _request: web.Request, user: Json, body: Json, number: str) -> web.Response:
        issue, given = found(self.issues, number), body["issue"]
        if not (self.may(user, "edit_issues") or self.may(user, "add_issue_notes")):
            raise Problem(403)
        editable = self.may(user, "edit_issues")
        wanted = {name: value for name, value in given.items() if name in PLAIN and name not in self.dropped}
        attributes = self._checked(wanted) if editable else {}
        values = self._checked_custom(given.get("custom_fields", ())) if editable else {}
        files = self._claimed(given.get("uploads", ()))
        details = self._changed(issue, attributes, values, files)
        gone = [number for number in given.get("deleted_attachment_ids", ()) if number in issue["files"]]
        details += [detail("attachment", str(number), self.files[number]["filename"], None) for number in gone]
        issue["files"] = [number for number in [*issue["files"], *files] if number not in gone]
        self._journalise(issue, user, given, details)
        issue["updated_on"] = self.now()  # also when nothing changed
        return web.Response(status=204)

    def _changed(self, issue: Json, attributes: Json, values: dict[int, Any], files: list[int]) -> list[Json]:
        details = []
        for name, value in attributes.items():
            if issue[name] != value:
                details.append(detail("attr", name, issue[name], value))
                issue[name] = value
        for number, value in values.items():
            if (issue["custom"].get(number) or "") != (value or ""):
                details.append(detail("cf", str(number), issue["custom"].get(number), value))
                issue["custom"][number] = value
        return [
            *details,
            *(detail("attachment", str(number), None, self.files[number]["filename"]) for number in files),
        ]

    def _journalise(self, issue: Json, user: Json, given: Json, details: list[Json]) -> None:
        notes = given.get("notes") or ""
        notes = notes if notes.strip() and self.may(user, "add_issue_notes") else ""
        private = bool(given.get("private_notes")) and bool(notes) and self.may(user, "set_notes_private")
        at = self.now()
        if private and details:
            self._append(issue, user, at, None, private=False, details=details)
            details = []
        if notes or details:
            self._append(issue, user, at, notes, private=private, details=details)

    def _append(
        self, issue: Json, user: Json, at: datetime, notes: str | None, *, private: bool, details: list[Json]
    ) -> None:
        journal = {"id": next(self._ids["journal"]), "user": user["id"], "created_on": at, "details": details}
        issue["journals"].append({**journal, "notes": notes, "private_notes": private})

    def _checked(self, given: Json) -> Json:
        """The attributes as Redmine stores them; what is not a number of something is refused or dropped."""
        result = dict(given)
        if "subject" in result and not (result["subject"].strip() and len(result["subject"]) <= 255):
            raise Problem(422, "Subject is too long (maximum is 255 characters)")
        if result.get("description"):
            result["description"] = re.sub(r"\r\n|\r|\n", "\r\n", result["description"])
        if result.get("status_id", 1) not in STATUSES:
            del result["status_id"]
        known = {"priority_id": PRIORITIES, "category_id": self.categories, "assigned_to_id": {u["id"] for u in USERS}}
        for name, numbers in known.items():
            if result.get(name) == "" and name != "priority_id":
                result[name] = None
            elif result.get(name) is not None and result[name] not in numbers:
                raise Problem(422, f"{name} is invalid")
        return result

    def _checked_custom(self, given: Any) -> dict[int, Any]:
        values = {}
        formats = {number: kind for number, _, kind in FIELDS}
        for row in given:
            number, value = row["id"], row["value"]
            if number not in formats:
                continue
            values[number] = [str(item) for item in value] if number == MULTIPLE else to_text(value)
            allowed = {3: SEVERITY, 4: LABELS, 11: CHANNEL}.get(number)
            chosen = values[number] if number == MULTIPLE else [values[number]]
            if allowed and any(item and item not in allowed for item in chosen):
                raise Problem(422, "is not included in the list")
            if formats[number] == "int" and value and not re.fullmatch(r"\s*[-+]?\d+\s*", str(value)):
                raise Problem(422, "is not a number")
        return values

    async def _delete(self, _request: web.Request, user: Json, _body: Json, number: str) -> web.Response:
        issue = found(self.issues, number)
        if not self.may(user, "delete_issues"):
            raise Problem(403)
        for child in self._children(issue):
            del self.issues[child["id"]]
        del self.issues[issue["id"]]
        return web.Response(status=204)

    async def _journal(self, _request: web.Request, user: Json, body: Json, number: str) -> web.Response:
        """Edit a note: nothing of it shows in `updated_on`."""
        notes = {note["id"]: (issue, note) for issue in self.issues.values() for note in issue["journals"]}
        issue, note = found(notes, number)
        if not self.may(user, "edit_issue_notes"):
            raise Problem(403)
        given = body["journal"]
        if "private_notes" in given and self.may(user, "set_notes_private"):
            note["private_notes"] = bool(given["private_notes"])
        if "notes" in given:
            note["notes"] = given["notes"]
        if not (note["notes"] or note["details"]):
            issue["journals"].remove(note)
        return web.Response(status=204)

    async def _new_category(self, _request: web.Request, user: Json, body: Json) -> web.Response:
        name = body["issue_category"]["name"]
        if not self.may(user, "manage_categories"):
            raise Problem(403)
        if not name or name in self.categories.values():
            raise Problem(422, "Name has already been taken")
        number = max(self.categories) + 1
        self.categories[number] = name
        return reply(201, {"issue_category": {"id": number, "name": name}})

    async def _category(self, _request: web.Request, _user: Json, body: Json, verb: str, number: str) -> web.Response:
        found(self.categories, number)
        if verb == "PUT":
            self.categories[int(number)] = body["issue_category"]["name"]
        else:
            del self.categories[int(number)]
            for issue in self.issues.values():
                issue["category_id"] = None if issue["category_id"] == int(number) else issue["category_id"]
        return web.Response(status=204)

    # -- files --------------------------------------------------------------------------------------------------

    async def _upload(self, request: web.Request, user: Json | None) -> Json:
        if request.method != "POST" or request.content_type != "application/octet-stream":
            raise Problem(406)
        content = await request.read()
        name = re.sub(r"^.*[\\/]", "", request.query.get("filename", "file"))
        if len(content) > MAX_FILE or len(name) > 255:
            raise Problem(
                422, "This file cannot be uploaded because it exceeds the maximum allowed file size (5242880)"
            )
        number = next(self._ids["file"])
        token = f"{number}.{hashlib.sha256(content).hexdigest()}"
        clean = re.sub(r'[?%*:|"\'<>\n\r]+', "_", name)
        self.files[number] = {"id": number, "filename": clean, "content": content, "filesize": len(content)}
        self.tokens[token] = number
        return {"id": number, "token": token}

    def _claimed(self, uploads: Any) -> list[int]:
        if any(upload["token"] not in self.tokens for upload in uploads):
            raise Problem(422, "1 file(s) could not be saved.")
        kept = [upload for upload in uploads if len(upload.get("description", "")) <= 255]
        for upload in kept:
            file = self.files[self.tokens.pop(upload["token"])]
            file |= {"content_type": upload.get("content_type"), "description": upload.get("description", "")}
        numbers = [int(upload["token"].partition(".")[0]) for upload in kept]
        return [] if "uploads" in self.dropped else numbers

    # -- words --------------------------------------------------------------------------------------------------

    async def _words(self, request: web.Request, user: Json | None, _body: Json, name: str) -> web.Response:
        name = unquote(name)
        if name in {"users", "custom_fields"} and not (user and user["admin"]):
            raise Problem(403)
        if match := re.fullmatch(r"roles/(\d+)", name):
            role = {"id": int(match[1]), "permissions": sorted(found(self.permissions, match[1]))}
            return reply(200, {"role": role})
        answers: dict[str, Callable[[], Json]] = {
            "users/current": lambda: {"user": account(user or {})},
            "users": lambda: listing("users", [{**account(each), "mail": mail(each)} for each in USERS], request),
            "projects": lambda: listing("projects", [project(self.categories)], request),
            "projects/support": lambda: {"project": project(self.categories)},
            "projects/1/memberships": lambda: listing("memberships", [self._member(each) for each in USERS], request),
            "issue_statuses": lambda: {"issue_statuses": numbered(STATUSES, is_closed=CLOSED)},
            "enumerations/issue_priorities": lambda: {"issue_priorities": numbered(PRIORITIES, active=set(PRIORITIES))},
            "custom_fields": lambda: {"custom_fields": [self._definition(*each) for each in FIELDS]},
        }
        if name not in answers:
            raise Problem(404)
        return reply(200, answers[name]())

    def _member(self, user: Json) -> Json:
        roles = [{"id": user["role"], "name": f"Role {user['role']}"}]
        return {"project": {"id": 1}, "user": self._named(user["id"]), "roles": roles}

    def _definition(self, number: int, name: str, kind: str) -> Json:
        pairs = {3: [(v, v) for v in SEVERITY], 4: [(v, v) for v in LABELS], 11: list(CHANNEL.items())}.get(number, [])
        return {
            "id": number,
            "name": name,
            "customized_type": "issue",
            "field_format": kind,
            "is_filter": number in self.filterable,
            "multiple": number == MULTIPLE,
            "possible_values": [{"value": value, "label": label} for value, label in pairs],
            "trackers": numbered(TRACKERS),
        }
