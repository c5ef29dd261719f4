"""The benchmark's two products in a process of their own: a Gorgias sandbox without limits and a fake Redmine.

Run as `python -m tests.bench.servers TICKETS`; prints one JSON line with both addresses. `GET /_calls` gives every
call so far, so that a bare client can make the same ones again.
"""

import asyncio
import base64
import json
import sys

from aiohttp import web
from aiohttp.typedefs import Handler

from connectors.gorgias.sandbox import Options, Sandbox
from tests.fakes.redmine import Redmine
from tests.fakes.redmine_words import ADMIN

Call = dict[str, str]


def recorded(app: web.Application) -> web.Application:
    """The application, remembering each call as sent."""
    calls: list[Call] = []

    @web.middleware
    async def remember(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == "/_calls":
            return web.json_response(calls)
        if request.path == "/_forget":
            calls.clear()
            return web.json_response({})
        body = base64.b64encode(await request.read()).decode()
        kind = request.headers.get("Content-Type", "")
        calls.append({"method": request.method, "path": request.raw_path, "body": body, "type": kind})
        return await handler(request)

    app.middlewares.insert(0, remember)
    return app


async def serve(tickets: int) -> None:
    """Serve until stdin closes."""
    sandbox = Sandbox(Options(rate_limit=None))
    for number in range(tickets):
        gid = sandbox.create_ticket(f"Question {number}", f"Where is order {number}?", customer=f"c{number}@c.example")
        for more in range(number % 4):
            sandbox.reply(gid, f"Answer {more} to {number}")
        sandbox.add_tags(gid, "vip" if number % 2 else "late")
    redmine = Redmine()
    addresses = {}
    for name, app in (("gorgias", sandbox.app()), ("redmine", redmine.app())):
        runner = web.AppRunner(recorded(app), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        addresses[name] = f"http://127.0.0.1:{runner.addresses[0][1]}"
    sandbox.base_url = addresses["gorgias"]
    keys = {"email": sandbox.options.email, "key": sandbox.options.api_key, "admin": ADMIN}
    print(json.dumps({**addresses, **keys}), flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
