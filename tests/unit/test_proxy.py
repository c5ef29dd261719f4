"""The proxy's conventions: options, pages, errors, limits, who may do what, and writes that happen once."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from connectors.gorgias.connector import GorgiasConfig, GorgiasConnector
from connectors.gorgias.sandbox import Options, RateLimit
from state.tables import ApiCall
from syncd.model import Side
from tests.unit.api_client import Api, Worked, expired, served
from tests.unit.gorgias_calls import NOTE, file_parts, fresh_ticket
from tests.unit.http_servers import serving

FROM = "support@acme.example"
REPLY = {
    "channel": "email",
    "from_agent": True,
    "via": "api",
    "body_text": "It is on its way.",
    "source": {"type": "email", "from": {"address": FROM}, "to": [{"address": "carla@customer.example"}]},
}


@pytest.fixture(scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """The API over a seeded sandbox, for the whole module: tests count what they add."""
    async with served(tmp_path_factory.mktemp("proxy")) as made:
        yield made


@contextmanager
def asks_nothing(api: Api) -> Iterator[None]:
    """Gorgias is not called meanwhile."""
    before = api.sandbox.requests
    yield
    assert api.sandbox.requests == before


@asynccontextmanager
async def account_at(api: Api, url: str) -> AsyncIterator[None]:
    """The workspace's account is another one meanwhile."""
    kept = api.source.runners["acme"]
    values = {"base_url": url, "email": "ops@acme.example", "api_key": "key"}
    async with GorgiasConnector.open(GorgiasConfig.model_validate(values), Side.GORGIAS, "acme") as odd:
        api.source.runners["acme"] = Worked({Side.GORGIAS: odd, Side.REMOTE: odd})
        yield
    api.source.runners["acme"] = kept


async def recorded(api: Api, token: str) -> list[ApiCall]:
    """The writes on record that were made with this token."""
    rows = await api.store.rows(ApiCall, "acme")
    return sorted((row for row in rows if row.token == token.split("_")[1]), key=lambda row: row.at)


# -- lists and options ---------------------------------------------------------------------------------------------


async def test_pages_lead_to_the_end_and_back(api: Api) -> None:
    """Each ticket once over small pages; the second page's previous one is the first."""
    pages = [(await api.call("GET", "tickets", {"limit": "10"})).doc]
    while cursor := pages[-1]["next_cursor"]:
        pages.append((await api.call("GET", "tickets", {"limit": "10", "next_cursor": cursor})).doc)
    ids = [row["id"] for page in pages for row in page["result"]]
    assert (len(ids), len(set(ids))) == (len(api.sandbox.tickets.rows), len(ids))
    assert [page["result_count"] for page in pages][:2] == [10, 10]
    back = (await api.call("GET", "tickets", {"limit": "10", "next_cursor": pages[1]["prev_cursor"]})).doc
    assert back["result"] == pages[0]["result"]


@pytest.mark.parametrize("prefix", ["", "truto_"])
async def test_options_under_both_names(api: Api, prefix: str) -> None:
    """Fields left out, rows by key, the product's own answer: by the neutral name and by the other one."""
    pairs = [(f"{prefix}exclude_fields[]", "subject"), (f"{prefix}exclude_fields", "tags,spam")]
    row = (await api.call("GET", "tickets", [*pairs, ("limit", "1")])).doc["result"][0]
    assert not {"subject", "tags", "spam"} & row.keys()
    by_id = (await api.call("GET", "tickets", {f"{prefix}key_by": "id", "limit": "3"})).doc["result"]
    assert all(key == str(row["id"]) for key, row in by_id.items())
    raw = (await api.call("GET", "tickets", {f"{prefix}response_format": "raw", "limit": "1"})).doc
    assert {"data", "meta", "object"} <= raw.keys()
    streamed = (await api.call("GET", "tickets", {f"{prefix}response_format": "stream", "limit": "1"})).doc
    assert streamed == raw
    most = (await api.call("GET", "tickets", {f"{prefix}ignore_limit": "true", "limit": "1"})).doc
    assert most["result_count"] > 1


async def test_an_answer_that_is_nothing(api: Api) -> None:
    """The product's own 204 is passed on as it is, without a type."""
    tag = (await api.call("POST", "tags", json={"name": "for a moment"})).doc["id"]
    reply = await api.call("DELETE", f"tags/{tag}", {"response_format": "raw"})
    assert (reply.status, reply.raw, reply.headers.get("Content-Type")) == (204, b"", None)


async def test_options_that_are_wrong_are_all_said(api: Api) -> None:
    """Each by its name; nothing is asked of Gorgias."""
    pairs = {"response_format": "xml", "ignore_limit": "perhaps", "limit": "many", "order_by": "colour"}
    with asks_nothing(api):
        reply = await api.call("GET", "tickets", pairs)
    assert (reply.status, len(reply.doc["details"]["failures"])) == (400, 4)
    assert (await api.call("GET", "tickets", {"remote_query[": "1"})).status == 400
    assert (await api.call("GET", "tickets", {"key_by": "colour"})).status == 400


async def test_what_is_sent_untouched(api: Api) -> None:
    """`remote_query` reaches the product as it is, and it is the product that refuses it."""
    reply = await api.call("GET", "tickets", {"remote_query[colour]": "red"})
    assert (reply.status, reply.doc["is_remote_error"], reply.doc["remote_status"]) == (400, True, 400)
    assert "colour" in str(reply.doc["raw_response"])
    body = {"data": b'{"name": "by hand"}', "headers": {"Content-Type": "application/json"}}
    made = await api.call("POST", "tags", {"body_passthrough": "true"}, **body)
    assert (made.status, made.doc["name"]) == (201, "by hand")


async def test_a_resource_is_found_by_its_other_spellings(api: Api) -> None:
    """Singular, dashes; a wrong one is a 404 that names the nearest, a wrong verb a 405 with what there is."""
    assert (await api.call("GET", "ticket")).status == 200
    assert (await api.call("GET", "custom-fields", {"object_type": "Ticket"})).status == 200
    unknown = await api.call("GET", "tickts")
    assert (unknown.status, "did you mean tickets" in unknown.doc["message"]) == (404, True)
    wrong = await api.call("PUT", "tickets/1")
    assert (wrong.status, wrong.headers["Allow"]) == (405, "DELETE, GET, PATCH")


# -- bodies --------------------------------------------------------------------------------------------------------


async def test_bodies_that_are_none(api: Api) -> None:
    """No JSON, another type, none at all, too large: said before anything is sent."""
    typed, plain = {"Content-Type": "application/json"}, {"Content-Type": "text/plain"}
    with asks_nothing(api):
        assert (await api.call("POST", "tags", data=b"{", headers=typed)).status == 400
        assert (await api.call("POST", "tags", data=b"a=b", headers=plain)).status == 415
        assert (await api.call("POST", "tags")).status == 400
        assert (await api.call("POST", "tags", data=b" " * (8 * 1024 * 1024 + 1), headers=typed)).status == 413
        assert (await api.call("POST", "files", data=b"x", headers=typed)).status == 415


@pytest.mark.parametrize(
    "head",
    [
        b'Content-Disposition: form-data; name="\x0e"',
        b'Content-Disposition: form-data; name="' + b"a" * 20_000 + b'"',
        b'Content-Disposition: form-data; name="a"\r\nContent-Encoding: gzip',
        b'Content-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: base64',
        b"Content-Type: text/plain",
        b'Content-Disposition: form-data; name="a"\r\nContent-Type: multipart/mixed; boundary=c',
    ],
    ids=["control", "long", "compressed", "base64", "nameless", "nested"],
)
async def test_forms_that_are_none(api: Api, head: bytes) -> None:
    """Whatever is wrong with a part is a 400, and nothing is asked of Gorgias."""
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    with asks_nothing(api):
        data = b"--b\r\n" + head + b"\r\n\r\nY!!\r\n--b--\r\n"
        reply = await api.call("POST", "files", {"type": "attachment"}, data=data, headers=headers)
    assert (reply.status, reply.doc["message"].startswith("the body is no form")) == (400, True)


async def test_a_body_that_is_not_encoded_as_it_says(api: Api) -> None:
    """A 400, and the next call is answered; one that is a bomb is too large."""
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    bad = await api.call("POST", "tags", data=b"not gzip", headers=headers)
    assert (bad.status, "cannot be read" in bad.doc["message"]) == (400, True)
    packed = await api.call("POST", "tags", data=gzip.compress(b'{"name": "packed"}'), headers=headers)
    assert packed.status == 201
    bomb = gzip.compress(b" " * (9 * 1024 * 1024))
    assert (await api.call("POST", "tags", data=bomb, headers=headers)).status == 413


async def test_files_go_up_and_come_down(api: Api) -> None:
    """An upload's bytes come back, with the name and as an attachment."""
    form = aiohttp.FormData()
    form.add_field("a.txt", b"abc" * 100_000, filename="a.txt", content_type="text/plain")
    made = await api.call("POST", "files", {"type": "attachment"}, data=form)
    assert (made.status, made.doc[0]["size"]) == (201, 300_000)
    parts = made.doc[0]["url"].split("/")
    place = {"file_type": parts[-4], "domain_hash": parts[-2], "resource_name": parts[-1]}
    got = await api.call("POST", "files/download", json=place)
    assert (got.status, got.raw) == (200, b"abc" * 100_000)
    assert got.headers["Content-Disposition"].startswith("attachment")
    gone = await api.call("POST", "files/download", file_parts(api.sandbox) | {"resource_name": "none.txt"})
    assert (gone.status, gone.doc["remote_status"]) == (404, 404)


@pytest.mark.parametrize("channels", [[{}], [{"type": "email"}], [{"type": "chat"}, {}]])
async def test_a_sender_of_whom_little_is_known(api: Api, channels: list[dict[str, str]]) -> None:
    """Channels without a type or an address are taken as they are."""
    message = {"channel": "api", "from_agent": False, "sender": {"name": "Jo", "channels": channels}}
    assert (await api.call("POST", "tickets", json={"messages": [message]})).status == 201


# -- errors of the product -----------------------------------------------------------------------------------------


async def test_the_products_error_is_kept(api: Api) -> None:
    """Its status, its words, and what it means to the caller."""
    reply = await api.call("GET", "tickets/999999999")
    assert (reply.status, reply.doc["statusCode"], reply.doc["error"]) == (404, 404, "Not Found")
    assert (reply.doc["truto_is_remote_error"], reply.doc["raw_response"].keys()) == (True, {"error"})


@pytest.mark.parametrize(
    ("theirs", "ours"), [(401, 401), (403, 403), (409, 409), (422, 422), (418, 422), (500, 502), (503, 502)]
)
async def test_statuses(api: Api, theirs: int, ours: int) -> None:
    """Each of the product's statuses as our caller gets it, with the product's body beside."""

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"error": {"msg": "no"}}, status=theirs)

    async with serving(answer) as url, account_at(api, url):
        reply = await api.call("POST", "tags", json={"name": "x"})
    assert (reply.status, reply.doc["remote_status"], reply.doc["raw_response"]) == (
        ours,
        theirs,
        {"error": {"msg": "no"}},
    )


async def test_an_account_that_is_away(api: Api) -> None:
    """An account that cannot be reached is a 504, and a login page in place of JSON a 502."""
    async with account_at(api, "http://127.0.0.1:1"):
        reply = await api.call("POST", "tags", json={"name": "x"})
    assert (reply.status, reply.doc["is_remote_error"]) == (504, True)

    async def login(_request: web.Request) -> web.Response:
        return web.Response(text="<html>log in</html>", content_type="text/html")

    async with serving(login) as url, account_at(api, url):
        assert (await api.call("POST", "tags", json={"name": "x"})).status == 502


async def test_the_allowance_is_told(tmp_path: Path) -> None:
    """What the product allows, what is left of it, and in how many seconds all of it is."""
    async with served(tmp_path, Options(rate_limit=RateLimit(40, 2.0))) as api:
        for _ in range(3):
            reply = await api.call("GET", "tags")
        told = [int(reply.headers[f"ratelimit-{name}"]) for name in ("limit", "remaining", "reset")]
        assert told[0] == 40
        assert 35 <= told[1] < 40
        assert 0 < told[2] <= 20


# -- who may do what -----------------------------------------------------------------------------------------------


async def test_nobody_comes_in_without_a_token(api: Api) -> None:
    """No token, a wrong one, one that is revoked or expired: 401, and nothing is asked of Gorgias."""
    revoked = await api.token("write")
    await api.store.revoke_token(revoked.split("_")[1])
    late = await api.token("write", **expired())
    with asks_nothing(api):
        for token in ("", "syncd_00_nothing", revoked, late, revoked[:-1] + "x"):
            reply = await api.call("GET", "tickets", token=token)
            assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, 'Bearer realm="syncd"')
    assert (await api.send("GET", "/healthz", token="")).status == 200


async def test_a_read_token_cannot_write(api: Api) -> None:
    """It reads; a write is a 403 that says what it may and what this needs."""
    token = await api.token("read")
    assert (await api.call("GET", "tickets", token=token)).status == 200
    reply = await api.call("POST", "tags", token=token, json={"name": "no"})
    assert (reply.status, "may only read, and this needs write" in reply.doc["message"]) == (403, True)
    assert not api.sandbox.tags.where("name", "no")


async def test_a_token_sees_its_own_workspace_only(api: Api) -> None:
    """Another one is a 403, its own need not be named, and one that is not worked on here is a 503."""
    token = await api.token("write", workspace="other")
    assert (await api.call("GET", "tickets", token=token)).status == 403
    assert (await api.send("GET", "/proxy/tickets", token=token)).status == 200
    busy = await api.send("GET", "/proxy/tickets", params={"integrated_account_id": "busy"})
    assert (busy.status, "another process has it" in busy.doc["message"]) == (503, True)
    assert (await api.send("GET", "/proxy/tickets", params={"integrated_account_id": "none"})).status == 404
    assert (await api.send("GET", "/proxy/tickets")).status == 400
    remote = await api.send("GET", "/proxy/tickets", params={"integrated_account_id": "acme:remote"})
    assert (remote.status, "use /unified" in remote.doc["message"]) == (501, True)


async def test_a_token_for_some_operations(api: Api) -> None:
    """What its patterns do not name is a 403."""
    token = await api.token("write", operations="tags.*,list_all_gorgias_users")
    assert (await api.call("POST", "tags", token=token, json={"name": "yes"})).status == 201
    assert (await api.call("GET", "users", token=token)).status == 200
    assert (await api.call("GET", "tickets", token=token)).status == 403


async def test_mailing_a_customer_needs_more_than_writing(api: Api) -> None:
    """A reply on e-mail is refused to who may write; a note is not; who may send mails."""
    writes, sends = await api.token("write"), await api.token("send")
    ticket = {"ticket_id": str(fresh_ticket(api.sandbox))}
    refused = await api.call("POST", "messages", ticket, token=writes, json=REPLY)
    assert (refused.status, "this needs send" in refused.doc["message"]) == (403, True)
    assert (await api.call("POST", "messages", ticket, token=writes, json=NOTE)).status == 201
    before = len(api.sandbox.outbox)
    assert (await api.call("POST", "messages", ticket, token=sends, json=REPLY)).status == 201
    assert (before, len(api.sandbox.outbox)) == (0, 1)


# -- writes that happen once ---------------------------------------------------------------------------------------


async def test_a_key_makes_a_write_happen_once(api: Api) -> None:
    """The same call again is answered as the first was; another call with the key is a 422."""
    headers, before = {"Idempotency-Key": "order-1"}, len(api.sandbox.tickets.rows)
    first = await api.call("POST", "tickets", json={"messages": [NOTE]}, headers=headers)
    again = await api.call("POST", "tickets", json={"messages": [NOTE]}, headers=headers)
    assert (first.status, again.status, again.doc) == (201, 201, first.doc)
    assert (first.headers.get("Idempotency-Replayed"), again.headers["Idempotency-Replayed"]) == (None, "true")
    other = await api.call("POST", "tickets", json={"messages": [NOTE], "subject": "B"}, headers=headers)
    assert other.status == 422
    assert len(api.sandbox.tickets.rows) == before + 1


async def test_a_key_of_a_call_that_changed_nothing_is_free(api: Api) -> None:
    """A refusal is not kept: the mended call may use the same key."""
    headers = {"Idempotency-Key": "tag"}
    assert (await api.call("PATCH", "tags/999999999", json={"name": "x"}, headers=headers)).status == 404
    tag = api.sandbox.tags.where("name", "VIP")[0]["id"]
    assert (await api.call("PATCH", f"tags/{tag}", json={"name": "x"}, headers=headers)).status == 200
    assert (await api.call("POST", "tags", json={"name": "y"}, headers={"Idempotency-Key": "ü"})).status == 400


async def test_two_calls_at_once_with_one_key(api: Api) -> None:
    """One of them makes the ticket; the other is told to wait, or gets its answer."""
    headers, before = {"Idempotency-Key": "twice"}, len(api.sandbox.tickets.rows)
    made = [api.call("POST", "tickets", json={"messages": [NOTE]}, headers=headers) for _ in range(5)]
    replies = await asyncio.gather(*made)
    assert {reply.status for reply in replies} <= {201, 409}
    assert len(api.sandbox.tickets.rows) == before + 1


async def test_every_write_is_on_record(api: Api) -> None:
    """Who, what, where, and what became of it; reads are not, and nothing of a body's values is."""
    token = await api.token("write")
    await api.call("GET", "tags", token=token)
    await api.call("POST", "tags", token=token, json={"name": "secret-name"})
    await api.call("PATCH", "tags/999999999", token=token, json={"name": "x"})
    rows = await recorded(api, token)
    assert [(row.operation, row.status) for row in rows] == [
        ("create_a_gorgias_tag", 201),
        ("update_a_gorgias_tag_by_id", 404),
    ]
    assert "secret-name" not in str([row.what for row in rows])
