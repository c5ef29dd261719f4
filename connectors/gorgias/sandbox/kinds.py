"""The simple kinds of object, each a row of `KINDS`: keys, filters, checks and what follows."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from connectors.gorgias.sandbox import render, views
from connectors.gorgias.sandbox.pages import Call
from connectors.gorgias.sandbox.render import SHAPES
from connectors.gorgias.sandbox.resources import Handler, Kind, handlers_of
from connectors.gorgias.sandbox.table import Row
from connectors.gorgias.sandbox.world import Act, Doc, Fault, World, wrong


def _equal(*keys: str) -> Callable[[Row, Mapping[str, Any]], bool]:
    return lambda row, query: all(row.get(key) == query[key] for key in keys if key in query)


def _user_fits(row: Row, query: Mapping[str, Any]) -> bool:
    text = query.get("search", "").lower()
    seen = text in f"{row.get('name', '')} {row.get('email', '')}".lower()
    return (
        seen
        and row["role"]["name"] in query.get("roles", [row["role"]["name"]])
        and _equal("email", "external_id")(row, query)
    )


def _user_values(_world: World, _act: Act, body: Doc, row: Row | None) -> Doc:
    if row is not None and body.get("email", row["email"]) != row["email"] and "password_confirmation" not in body:
        raise wrong("password_confirmation", "Missing data for required field.")
    hidden = ("new_password", "old_password", "password_confirmation", "two_fa_code")
    values = {key: value for key, value in body.items() if key not in hidden}
    if row is None:
        first, _, last = body["name"].partition(" ")
        values = {"firstname": first, "lastname": last} | values
    if "email" in values:
        values["email"] = values["email"].lower()
    return values


def _user_gone(world: World, act: Act, row: Row) -> None:
    for ticket in world.tickets.where("assignee_user_id", row["id"]):
        world.tickets.change(ticket, {"assignee_user_id": None})  # inferred: no event tells
    views.deactivate_using(world, act, "ticket.assignee_user.id", row["id"])


def _members(world: World, _act: Act, body: Doc, _row: Row | None) -> Doc:
    if "members" not in body:
        return body
    ids = [member["id"] for member in body["members"]]
    for user_id in ids:
        if user_id not in world.users:
            raise wrong("members", f"User {user_id} does not exist.")
    return {**body, "members": ids}


def _team(world: World, row: Row) -> Doc:
    members = [render.user_short(world, user_id) for user_id in row.get("members", ())]
    shown = [{key: one[key] for key in ("id", "name", "email", "meta")} for one in members if one]
    return {**SHAPES["Team"], **row, "members": shown}


def _custom_field_fits(row: Row, query: Mapping[str, Any]) -> bool:
    text = query.get("search", "").lower()
    archived = "deactivated_datetime" in row
    same = row["object_type"] == query["object_type"] and text in row["label"].lower()
    return same and query.get("archived", archived) == archived


def _integration(_world: World, row: Row) -> Doc:
    http = {key: value for key, value in row.get("http", {}).items() if key != "hmac_secret"}
    return {**SHAPES["Integration"], **row, "http": {"id": row["id"], **http} if http else None}


def _http_needed(_world: World, body: Doc) -> None:
    if body.get("type") == "http" and not body.get("http"):
        raise wrong("http", "Missing data for required field.")


def _http_values(_world: World, _act: Act, body: Doc, row: Row | None) -> Doc:
    merged = {**(row or {}).get("http", {}), **body["http"]} if body.get("http") else None
    return {**body, "http": merged} if merged else body


def _integration_gone(world: World, act: Act, row: Row) -> None:
    views.deactivate_using(world, act, "ticket.messages.integration_id", row["id"])


def _integration_unused(world: World, row: Row) -> None:
    if any(str(row["id"]) in re.findall(r"\d+", rule["code"]) for rule in world["rules"]):
        raise Fault(409, "The integration is used by a rule.")


def _macro_fits(row: Row, query: Mapping[str, Any]) -> bool:
    text = query.get("search", "").lower()
    names = [tag for action in row.get("actions", ()) for tag in _macro_tags(action)]
    spoken = row.get("language") in query.get("languages", [row.get("language")])
    tagged = all(tag in names for tag in query.get("tags", ()))
    return (
        text in row["name"].lower()
        and spoken
        and tagged
        and ("archived_datetime" in row) == query.get("archived", False)
    )


def _macro_tags(action: Doc) -> list[str]:
    text = str(action.get("arguments", {}).get("tags", "")) if action["name"] == "addTags" else ""
    return [name.strip() for name in text.split(",")]


def _macro_unused(world: World, row: Row) -> None:
    if any(f"{row['id']}" in re.findall(r"\d+", r["code"]) for r in world["rules"] if "deactivated_datetime" not in r):
        raise Fault(409, "The macro is used by an active rule.")


def _rule_code(_world: World, body: Doc) -> None:
    """Free JavaScript is a 400 (documented); which words make it free is inferred."""
    code = re.sub(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'', '""', body.get("code", ""))
    if re.search(r"=>|\b(function|var|let|const|for|while|return|new|import|class)\b|[^=!<>]=[^=]|`", code):
        raise wrong("code", "Unsupported code.")


def _rule_values(world: World, _act: Act, body: Doc, row: Row | None) -> Doc:
    if row is not None:
        return body
    highest = max((rule.get("priority", 0) for rule in world["rules"]), default=0)
    return {"priority": highest + 1, "code_ast": {"type": "Program", "body": [], "sourceType": "script"}, **body}


def _survey_known(world: World, body: Doc) -> None:
    for key, table in (("ticket_id", "tickets"), ("customer_id", "customers")):
        if key in body and body[key] not in world[table]:
            raise wrong(key, f"{body[key]} does not exist.")


def _survey_scored(world: World, act: Act, row: Row, changes: Doc) -> None:
    if changes.get("sent_datetime"):
        world.log(act, "satisfaction-survey-sent", "SatisfactionSurvey", row["id"])
    if changes.get("score"):
        data = {"score": row["score"], "body_text": row.get("body_text")}
        world.log(act, "satisfaction-survey-responded", "SatisfactionSurvey", row["id"], data)


def _forget_recording(world: World, call: Call) -> None:
    """Inferred from deleted_datetime: the object stays, its sound goes."""
    row = world.row("recordings", call.path["id"])
    world["recordings"].change(
        row, {"deleted_datetime": world.stamp(), "deleted_by_user_id": call.act.user_id, "url": None}
    )


KINDS = (
    Kind(
        "users",
        "/api/users",
        "User",
        "user",
        unique="email",
        fits=_user_fits,
        prepare=_user_values,
        after_delete=_user_gone,
    ),
    Kind("teams", "/api/teams", "Team", "team", prepare=_members, show=_team),
    Kind(
        "views",
        "/api/views",
        "View",
        "view",
        check=views.check,
        show=views.show,
        before_delete=views.must_be_own,
        first={"category": "user"},
    ),
    Kind("custom_fields", "/api/custom-fields", "CustomField", "custom-field", fits=_custom_field_fits),
    Kind(
        "integrations",
        "/api/integrations",
        "Integration",
        "integration",
        fits=_equal("type"),
        show=_integration,
        check=_http_needed,
        prepare=_http_values,
        before_delete=_integration_unused,
        after_delete=_integration_gone,
    ),
    Kind("macros", "/api/macros", "Macro", "macro", fits=_macro_fits, before_delete=_macro_unused),
    Kind("rules", "/api/rules", "Rule", "rule", check=_rule_code, prepare=_rule_values),
    Kind("widgets", "/api/widgets", "Widget", "widget", fits=_equal("integration_id", "app_id")),
    Kind(
        "surveys",
        "/api/satisfaction-surveys",
        "SatisfactionSurvey",
        unique="ticket_id",
        fits=_equal("ticket_id"),
        check=_survey_known,
        after=_survey_scored,
    ),
    Kind("settings", "/api/account/settings", "AccountSetting", "account-setting", object_type="Account"),
    Kind("voice_calls", "/api/phone/voice-calls", "VoiceCall", fits=_equal("ticket_id")),
    Kind("recordings", "/api/phone/voice-call-recordings", "VoiceCallRecording", fits=_equal("call_id")),
    Kind("voice_events", "/api/phone/voice-call-events", "VoiceCallEvent", fits=_equal("call_id")),
)

BY_TABLE = {kind.table: kind for kind in KINDS}


def _settings(world: World, call: Call) -> Doc:
    wanted = call.query.get("type")
    return {"data": [{**SHAPES["AccountSetting"], **row} for row in world["settings"] if wanted in (None, row["type"])]}


def _priorities(world: World, call: Call) -> list[Doc]:
    pairs = [(world.row("rules", item["id"]), item["priority"]) for item in call.body["priorities"]]
    for row, priority in pairs:
        world["rules"].change(row, {"priority": priority})
        world.log(call.act, "rule-priority-updated", "Rule", row["id"])
    return [{**SHAPES["Rule"], **row, "uri": f"/api/rules/{row['id']}/"} for row, _ in pairs]


def _archive(world: World, call: Call) -> None:
    for macro_id in call.body["ids"]:
        world["macros"].change(world.row("macros", macro_id), {"archived_datetime": world.stamp()})


HANDLERS: dict[str, Handler] = {key: handler for kind in KINDS for key, handler in handlers_of(kind).items()} | {
    "GET /api/account/settings": _settings,
    "POST /api/rules/priorities": _priorities,
    "PUT /api/macros/archive": _archive,
    "DELETE /api/phone/voice-call-recordings/{id}": _forget_recording,
}
