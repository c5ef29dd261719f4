"""The benchmark's Gorgias and its window on the tracker, in a process of their own.

Run as `python -m tests.bench.servers TICKETS TRACKER`: a Gorgias sandbox without limits, and a relay to the tracker at
that URL (`fake` serves a fake Redmine instead). Both remember each call as sent; `GET /_calls` gives them, so that a
bare client can make the same ones again, by the same way.
"""

import asyncio
import base64
import json
import sys

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler

from connectors.gorgias.sandbox import Options, Sandbox
from tests.fakes.redmine import Redmine

#: What a call needs beside its body to be the same call.
KEPT = ("Content-Type", "If-Match", "X-Requested-With", "Origin", "Accept")
#: What belongs to one connection, and not to what goes through it.
HOP = frozenset({"host", "connection", "content-length", "transfer-encoding", "content-encoding", "keep-alive"})


def recorded(app: web.Application) -> web.Application:
    """The application, remembering each call as sent."""
    calls: list[dict[str, object]] = []

    @web.middleware
    async def remember(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == "/_calls":
            made, calls[:] = list(calls), []
            return web.json_response(made)
        body = base64.b64encode(await request.read()).decode()
        headers = {name: request.headers[name] for name in KEPT if name in request.headers}
        calls.append({"method": request.method, "path": request.raw_path, "body": body, "headers": headers})
        return await handler(request)

    app.middlewares.insert(0, remember)
    return app


def relay(base: str) -> web.Application:
    """An application that passes every call on to another server."""

    async def session(app: web.Application) -> object:
        app["session"] = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=32))
        yield
        await app["session"].close()

    async def pass_on(request: web.Request) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP}
        call = request.app["session"].request(
            request.method, base + request.raw_path, data=await request.read(), headers=headers, allow_redirects=False
        )
        async with call as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP}
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)

    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{path:.*}", pass_on)
    return app


async def serve(tickets: int, tracker: str) -> None:
    """Serve until stdin closes."""
    sandbox = Sandbox(Options(rate_limit=None))
    for number in range(tickets):
        gid = sandbox.create_ticket(f"Question {number}", f"Where is order {number}?", customer=f"c{number}@c.example")
        for more in range(number % 4):
            sandbox.reply(gid, f"Answer {more} to {number}")
        sandbox.add_tags(gid, "vip" if number % 2 else "late")
    addresses = {}
    window = Redmine().app() if tracker == "fake" else relay(tracker.rstrip("/"))
    for name, app in (("gorgias", sandbox.app()), ("tracker", window)):
        runner = web.AppRunner(recorded(app), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        addresses[name] = f"http://127.0.0.1:{runner.addresses[0][1]}"
    sandbox.base_url = addresses["gorgias"]
    print(json.dumps({**addresses, "email": sandbox.options.email, "key": sandbox.options.api_key}), flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
