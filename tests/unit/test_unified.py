"""The parts of the unified API that need no wire: filters, pages, statuses, shapes, and what is wrong with a body."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.connector import Vocabulary
from syncd.directory import MAX_LIMIT, Draft, Filter, Query, Record, Rows, Shelf, Unsupported
from syncd.errors import BadRequest, Refused
from syncd.model import Attachment, Body, Comment, Field, Person, Status, Team, Ticket, User
from syncd.unified import drafts, filters, schema, shapes, words
from syncd.unified.bodies import problems_of
from syncd.unified.listing import BUDGET, collect
from syncd.web.unified_openapi import openapi_paths, openapi_schemas

#: The same cases on every machine, however slow it is.
calm = settings(
    max_examples=60, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
ROUNDUP = ("unread", "deferred", "chatting", "need-eg", "in-progress", "testing", "done-cbb", "resolved")
TRACKER = tuple(Status(name, name in {"done-cbb", "resolved"}) for name in ROUNDUP)
REDMINE = tuple(
    Status(name, name in {"Closed", "Rejected"})
    for name in ("New", "In Progress", "Resolved", "Feedback", "Closed", "Rejected")
)
ROW = {
    "id": "7",
    "name": "Lamp",
    "status": {"id": "New", "name": "open"},
    "tags": [{"id": "1", "name": "vip"}, {"id": "2", "name": "late"}],
    "emails": [{"email": "ann@acme.example", "type": "primary"}],
    "is_active": True,
    "updated_at": "2026-08-26T12:00:00Z",
}


# -- filters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "op", "value", "kept"),
    [
        ("status.name", "eq", "OPEN", True),
        ("status.name", "ne", "open", False),
        ("tags.name", "eq", "late", True),
        ("tags.name", "nin", "a,late", False),
        ("tags.id", "in", "9,2", True),
        ("name", "like", "am", True),
        ("name", "like", "l%", True),
        ("name", "like", "%l", False),
        ("emails", "eq", "Ann@acme.example", True),
        ("is_active", "eq", "false", False),
        ("updated_at", "gt", "2026-08-26T14:00:00+02:00", False),
        ("updated_at", "gte", "2026-08-26T14:00:00+02:00", True),
        ("updated_at", "lt", "2026-08-26T12:00:00.5", True),
        ("updated_at", "eq", "2026-08-26 12:00:00", True),
        ("created_at", "lt", "2026-08-26", False),
        ("is_active", "gt", "false", False),
        ("name", "gte", "LAMP", True),
        ("updated_at", "lt", "0001-01-01T00:00:00+14:00", False),
        ("team.id", "eq", "1", False),
        ("ids", "in", "7,8", True),
    ],
)
def test_a_row_matches_or_not(path: str, op: str, value: str, kept: bool) -> None:
    """Names without regard to case, times as moments, arrays by any of their items; what is null fulfils nothing."""
    values = tuple(value.split(",")) if op in {"in", "nin"} else (value,)
    assert filters.matches(ROW, [Filter(tuple(path.split(".")), op, values)]) is kept


def test_a_query_string_is_read() -> None:
    """Brackets, short forms, operators and lists."""
    problems: list[str] = []
    texts = {
        "status": "open", "ticket_id": "9", "tags[name][in]": "a, b", "updated_at[gte]": "2026-01-01", "limit": "5",
        "ids": ["1", "2,3"], "sort_by[updated_at]": "desc", "assignees[id]": "4",
    }  # fmt: skip
    given_texts = {name: value for name, value in texts.items() if name != "ticket_id"}
    query = filters.read("tickets", given_texts, None, (), problems)
    assert problems == []
    assert (query.limit, query.sort) == (5, ("updated_at", True))
    assert query.only("status", "name") == "open"
    assert query.any_of("ids") == ["1", "2", "3"]
    assert query.any_of("tags", "name") == ["a", "b"]
    assert [one.op for one in query.bounds("updated_at")] == ["gte"]
    assert filters.read("comments", {"ticket_id": "9"}, None, (), problems).only("ticket", "id") == "9"


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ({"colour": "red"}, "colour: there is no such filter"),
        ({"nmae": "x"}, 'did you mean "name"'),
        ({"limit": "0"}, "limit: must be a number from 1 to 100"),
        ({"limit": "ten"}, "limit: must be"),
        ({"updated_at[gt]": "soon"}, "must be a time such as"),
        ({"sort_by[colour]": "asc"}, "sort_by: 'colour' is none of"),
        ({"sort_by[created_at]": "up"}, "must be asc or desc"),
    ],
)
def test_a_wrong_query_is_told(texts: dict[str, str], told: str) -> None:
    """Each mistake by its name."""
    problems: list[str] = []
    filters.read("tickets", texts, None, (), problems)
    assert told in "\n".join(problems)


# -- pages ---------------------------------------------------------------------------------------------------------


START = datetime(2026, 1, 1, tzinfo=UTC)


class Numbers(Shelf):
    """Records with the numbers from 0 on, newest first, in pages of the product's own size."""

    sorts = frozenset({"created_at"})

    def __init__(self, count: int, whole: bool = False) -> None:
        super().__init__("tickets", "numbers")
        self.known = [
            {"id": str(n), "name": str(n % 7), "created_at": shapes.moment(START + timedelta(seconds=n))}
            for n in reversed(range(count))
        ]
        self.calls = 0
        self.whole = whole  # type: ignore[misc]

    async def rows(self, query: Query, cursor: str | None, size: int) -> Rows:
        """A page behind the row that the cursor names."""
        self.calls += 1
        rows = self.known[::-1] if query.sort == ("created_at", False) else self.known
        ids = [row["id"] for row in rows]
        start = ids.index(cursor) + 1 if cursor else 0
        end = len(rows) if self.whole else start + size
        following = ids[end - 1] if end < len(ids) else None
        return Rows([Record(row) for row in rows[start:end]], following, order=query.sort or ("created_at", True))


async def pages(shelf: Shelf, query: Query) -> list[list[str]]:
    """The ids of all pages."""
    found: list[list[str]] = []
    while True:
        listing = await collect(shelf, query)
        found.append([str(record.fields["id"]) for record in listing.records])
        if listing.next_cursor is None:
            return found
        query = Query(query.filters, query.sort, query.limit, listing.next_cursor)


@given(
    count=st.integers(0, 220),
    limit=st.sampled_from([7, 10, 33, MAX_LIMIT]),
    name=st.none() | st.sampled_from("0369"),
    sort=st.sampled_from([None, ("created_at", True), ("created_at", False), ("name", False)]),
    whole=st.booleans(),
)
@calm
async def test_every_row_comes_once(count: int, limit: int, name: str | None, sort: Any, whole: bool) -> None:
    """Whatever is filtered, sorted and cut, by the product or here: each row that fits is on exactly one page."""
    shelf = Numbers(count, whole)
    chosen = (Filter(("name",), "eq", (name,)),) if name else ()
    found = await pages(shelf, Query(chosen, sort, limit))
    assert all(len(page) <= limit for page in found)
    expected = [row["id"] for row in shelf.known if name is None or row["name"] == name]
    seen = [one for page in found for one in page]
    assert sorted(seen) == sorted(expected)
    if sort in {None, ("created_at", True)}:
        assert seen == expected
    if sort == ("created_at", False):
        assert seen == expected[::-1]


async def test_a_page_without_filters_is_one_call() -> None:
    """The product's own page is handed on as it is."""
    shelf = Numbers(250)
    listing = await collect(shelf, Query(limit=30))
    assert (len(listing.records), shelf.calls) == (30, 1)


async def test_a_list_ends_where_nothing_more_can_fit() -> None:
    """Rows that come newest first are read until one is too old."""
    shelf = Numbers(5000)
    bound = Filter(("created_at",), "gte", (shelf.known[10]["created_at"],))
    assert [len(page) for page in await pages(shelf, Query((bound,)))] == [11]
    assert shelf.calls == 1


async def test_a_rare_value_costs_a_bounded_number_of_calls() -> None:
    """Where few rows fit, the page is short and has a cursor with which the search goes on."""
    shelf = Numbers(3000)
    listing = await collect(shelf, Query((Filter(("ids",), "eq", ("0",)),)))
    assert (list(listing.records), shelf.calls) == ([], BUDGET)
    assert (await pages(shelf, Query((Filter(("ids",), "eq", ("0",)),))))[-1] == ["0"]


async def test_too_much_to_sort_is_refused() -> None:
    """Sorting what the product does not sort needs all rows, and there is an end to that."""
    with pytest.raises(Refused, match="too many tickets to sort them by name"):
        await collect(Numbers(6000), Query(sort=("name", False)))


@pytest.mark.parametrize("text", ["x", "!!", "W10", "bnVsbA", "é", "e30"])
async def test_a_foreign_cursor_is_refused(text: str) -> None:
    """Text that is no cursor is wrong input, and nothing else."""
    with pytest.raises(BadRequest):
        await collect(Numbers(3), Query(cursor=text))


async def test_a_shelf_says_what_it_cannot_do() -> None:
    """What is not overridden is no method, and says so when it is called all the same."""
    shelf = Numbers(1)
    assert shelf.methods == ("list",)
    for call in (shelf.get("1", None), shelf.create(Draft({})), shelf.update("1", Draft({})), shelf.delete("1", None)):
        with pytest.raises(Unsupported, match="numbers has no way to"):
            await call
    with pytest.raises(Unsupported):
        await shelf.download("1", None)


# -- words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "closed", "word"),
    [
        ("New", False, "open"), ("In Progress", False, "active"), ("Feedback", False, "pending"),
        ("Resolved", True, "resolved"), ("Resolved", False, "resolved"), ("Rejected", True, "closed"),
        ("done-cbb", True, "completed"), ("unread", False, "open"), ("Open", False, "open"), ("Open", True, "closed"),
    ],
)  # fmt: skip
def test_a_products_status_has_a_unified_word(name: str, closed: bool, word: str) -> None:
    """A word that says the same, or else open or closed, as the product counts it."""
    assert words.unified_status(name, closed) == word


@pytest.mark.parametrize(
    ("statuses", "wanted", "own"),
    [
        (REDMINE, {"name": "open"}, "New"), (REDMINE, {"name": "closed"}, "Closed"),
        (REDMINE, {"name": "active"}, "In Progress"), (REDMINE, {"name": "resolved"}, "Resolved"),
        (REDMINE, {"id": "feedback"}, "Feedback"), (REDMINE, {"name": "deleted"}, "Closed"),
        (TRACKER, {"name": "closed"}, "resolved"), (TRACKER, {"name": "open"}, "unread"),
        (TRACKER, {"name": "pending"}, "deferred"), (TRACKER, {"name": "completed"}, "done-cbb"),
    ],
)  # fmt: skip
def test_a_unified_status_has_a_products_word(statuses: Any, wanted: Any, own: str) -> None:
    """Equal names first, then what means the same, then what is open or closed alike."""
    assert words.product_status(wanted, statuses) == own


def test_an_unknown_status_is_told() -> None:
    """With those that there are."""
    with pytest.raises(BadRequest, match="none of New, In Progress"):
        words.product_status({"id": "Parked"}, REDMINE)


def test_priorities_are_translated_by_rank() -> None:
    """The product's own words, and the usual four on any scale."""
    scale = ("wish", "feature", "bug", "urgent", "critical")
    assert words.product_priority({"name": "Bug"}, scale) == "bug"
    assert [words.product_priority({"name": one}, scale) for one in words.PRIORITIES] == [
        "wish", "feature", "urgent", "critical",
    ]  # fmt: skip
    with pytest.raises(BadRequest):
        words.product_priority({"name": "whenever"}, scale)


# -- shapes and bodies ---------------------------------------------------------------------------------------------

WORDS = Vocabulary(
    REDMINE,
    ("Low", "High"),
    (User("5", "Alice Agent", "alice@acme.example"),),
    (Team("2", "Depot"),),
    (Field("1", "Order"),),
)
SAID = Comment("11", Body("Hello"), Person("9", "Carla C", "carla@c.example"), attachments=(Attachment("3", "a.txt"),))


def fits(name: str, row: Any) -> Any:
    """The whole object, which fits its schema."""
    resource = schema.every()["ticketing", name]
    whole = schema.filled(resource.fields, row)
    jsonschema.Draft202012Validator(schema.answer_schema(resource)).validate(whole)
    return whole


def test_the_model_has_its_shape() -> None:
    """Every class of the unified model, full and empty, fits the schema of its resource."""
    full = Ticket(
        "7", "Lamp", "In Progress", "High", "5", "Depot", frozenset({"vip"}), {"Order": "A1"}, SAID.author, (SAID,), 1,
        drafts.now(), drafts.now(), url="https://x/7", version="v1",
    )  # fmt: skip
    row = fits("tickets", shapes.ticket(full, WORDS))
    assert row["assignees"][0]["emails"] == [{"email": "alice@acme.example", "type": "primary"}]
    assert (row["team"], row["status"]) == ({"id": "2", "name": "Depot"}, {"id": "In Progress", "name": "active"})
    assert (row["description"], row["custom_fields"]) == ("Hello", {"Order": "A1"})
    assert row["created_by"] == {"id": "9", "name": "Carla C", "type": "contact"}
    fits("tickets", shapes.ticket(Ticket("8", assignee="gone", team="gone", status="gone"), WORDS))
    fits("comments", shapes.comment("7", SAID, "desk"))
    fits("comments", shapes.comment("7", Comment("12", Body()), "desk"))
    for file in shapes.attachments("7", [SAID]):
        fits("attachments", file)
    fits("users", shapes.user(WORDS.users[0]))
    assert fits("users", shapes.user(User("6", "")))["name"] == "6"
    fits("teams", shapes.team(WORDS.teams[0]))
    fits("fields", shapes.field(WORDS.fields[0]))
    fits("contacts", shapes.contact(Person("9", "Carla")))


@calm
@given(st.text(min_size=1), st.text(min_size=1, alphabet="abc:%/ é"))
def test_a_childs_id_leads_back(own: str, ticket: str) -> None:
    """The id of a comment holds its ticket's, whatever characters that has."""
    assert shapes.parent_and_own(shapes.child_id(ticket, own), None) == (ticket, own)


@pytest.mark.parametrize(
    ("body", "private"),
    [
        ({}, True), ({"is_private": False}, False), ({"is_internal": False}, False), ({"is_private": True}, True),
        ({"is_internal": True, "is_private": False}, True), ({"is_internal": False, "is_private": None}, False),
    ],
)  # fmt: skip
def test_what_nobody_calls_public_is_private(body: Any, private: bool) -> None:
    """Public only where the caller says so, and nothing says otherwise."""
    assert drafts.is_private(body) is private


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"status": {"id": "Parked"}}, "status.id: 'Parked' is none of"),
        ({"status": None}, "status: a ticket always has one"),
        ({"priority": {"name": "whenever"}}, "priority: 'whenever'"),
        ({"assignees": [{"id": "77"}]}, "assignees.0: no such user"),
        ({"assignees": [{"id": "5"}, {"id": "6"}]}, "assignees: a ticket has one at most"),
        ({"team": {"name": "Nobody"}}, "team: no such team; there are Depot"),
    ],
)
def test_what_no_ticket_can_have_is_told(body: Any, told: str) -> None:
    """Each in its own words, all at once."""
    with pytest.raises(BadRequest) as caught:
        drafts.fields_of({**body, "name": "x"}, WORDS)
    assert told in "\n".join(caught.value.problems)


def test_a_ticket_is_written_by_names_or_ids() -> None:
    """An agent by address or name, a team by name, and null clears."""
    body = {"assignees": [{"emails": [{"email": "Alice@acme.example"}]}], "team": {"name": "Depot"}, "priority": None}
    assert drafts.fields_of(body, WORDS) == {"assignee": "5", "team": "Depot", "priority": None}
    assert drafts.fields_of({"assignees": [], "team": None}, WORDS) == {"assignee": None, "team": None}
    assert drafts.fields_of({"assignees": [{"name": "Alice Agent"}]}, WORDS) == {"assignee": "5"}


def test_a_customer_that_is_kept_nowhere_is_named_in_the_text() -> None:
    """A product without customers shows in the description who asks."""
    body = {"description": "Help", "contact": {"name": "Carla", "emails": [{"email": "c@c.example"}]}}
    said = drafts.opening(body, WORDS, keeps_contact=False)
    assert said is not None
    assert said.body.text == "From: Carla <c@c.example>\n\nHelp"
    kept = drafts.opening(body, WORDS, keeps_contact=True)
    assert kept is not None
    assert (kept.body.text, kept.author and kept.author.email) == ("Help", "c@c.example")
    assert drafts.opening({}, WORDS, keeps_contact=True) is None


@pytest.mark.parametrize(
    ("name", "method", "body", "told"),
    [
        ("tickets", "create", {}, ["name: is required"]),
        ("tickets", "create", [], ["body: must be a JSON object"]),
        ("tickets", "update", {}, ["body: names nothing to change"]),
        ("tickets", "update", {"id": "1"}, ["id: cannot be written here"]),
        ("tickets", "create", {"name": ""}, ["name: '' should be non-empty"]),
        ("tickets", "create", {"name": "x", "status": {"name": "parked"}}, ["status.name: 'parked' is not one of"]),
        ("comments", "create", {"is_private": False}, ["body: body or html_body is required"]),
        ("comments", "update", {"author": {"id": "1"}}, ["author: cannot be written here"]),
        ("users", "create", {"emails": [{"type": "x"}]}, ["emails.0.email: is required"]),
        ("users", "create", {"emails": [{"email": None}]}, ["emails.0.email: None is not of type"]),
        ("comments", "update", {"body": "Ann Lee · 2026-11-25 10:00 UTC · gorgias:1"}, ["body: begins with a line"]),
        ("comments", "create", {"body": "x", "created_at": "0001-01-01T00:00:00+14:00"}, ["created_at: "]),
        (
            "comments",
            "create",
            {"body": "x", "attachments": [{"file_name": "a", "content_type": "\0", "data": ""}]},
            ["attachments.0.content_type: "],
        ),
        ("tags", "create", {"name": None}, ["name: None is not of type 'string'"]),
        ("attachments", "create", {"ticket_id": "1", "file_name": "a", "data": "?"}, ["data: is no Base64"]),
    ],
)
def test_a_wrong_body_is_told(name: str, method: str, body: Any, told: Sequence[str]) -> None:
    """Each mistake with its place."""
    problems = problems_of("ticketing", name, method, body)
    assert len(problems) == len(told)
    assert all(problem.startswith(start) for problem, start in zip(problems, told, strict=True)), problems


def test_the_api_describes_itself() -> None:
    """Every resource has its paths and schemas, every schema is one, and every reference leads to one."""
    schemas, paths = openapi_schemas(), openapi_paths()
    for one in schemas.values():
        jsonschema.Draft202012Validator.check_schema(one)
    assert {f"/unified/ticketing/{name}/{{id}}" for name in ("tickets", "comments", "users")} <= set(paths)
    operations = [operation for path in paths.values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    named = {part.split('"')[0] for part in str(paths).replace("'", '"').split("#/components/schemas/")[1:]}
    assert named <= set(schemas)
