"""The daemon's own endpoints: health, metrics, hooks and the status page. Others add theirs to the same application."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web
from pydantic import SecretStr

from syncd import log
from syncd.access import Keys
from syncd.errors import ConfigError, StoreError
from syncd.metrics import Metrics
from syncd.model import Side
from syncd.settings import is_loopback
from syncd.web import page
from syncd.web.guard import add_headers, doorkeeper, errors_as_json, refuse
from syncd.web.health import HealthSource, Hint, WorkspaceHealth

MAX_HOOK = 1024 * 1024
HINTS = {
    Hint.FORGED: "the call is not genuine",
    Hint.UNKNOWN: "there is no such workspace",
}

logger = log.get(__name__)


def make_app(
    source: HealthSource,
    metrics: Metrics,
    token: SecretStr | None = None,
    *,
    keys: Keys | None = None,
    max_body: int = MAX_HOOK,
) -> web.Application:
    """The application; `keys` open the API besides `token`, `max_body` bounds what is read into memory."""
    app = web.Application(middlewares=[errors_as_json, doorkeeper(token, keys)], client_max_size=max_body)
    app.on_response_prepare.append(add_headers)
    endpoints = _Endpoints(source, metrics)
    app.add_routes(
        [
            web.get("/", endpoints.page),
            web.get("/healthz", endpoints.healthz),
            web.get("/readyz", endpoints.readyz),
            web.get("/metrics", endpoints.metrics),
            web.post("/hooks/{workspace}/{side}", endpoints.hook),
        ]
    )
    return app


class _Endpoints:
    """The handlers, over what the daemon tells."""

    def __init__(self, source: HealthSource, metrics: Metrics) -> None:
        self._source = source
        self._metrics = metrics

    async def healthz(self, _request: web.Request) -> web.Response:
        """Alive: the event loop turns. Says nothing about accounts or the store: a restart would not mend them."""
        return web.json_response({"alive": True})

    async def readyz(self, _request: web.Request) -> web.Response:
        workspaces = await self._source.workspaces()
        ready = bool(workspaces) and all(workspace.ready for workspace in workspaces)
        answer = {"ready": ready, "workspaces": {workspace.name: _report(workspace) for workspace in workspaces}}
        return web.Response(
            status=200 if ready else 503, body=orjson.dumps(answer), headers={"Content-Type": "application/json"}
        )

    async def metrics(self, request: web.Request) -> web.Response:
        try:
            await self._source.measure()
        except StoreError as error:  # what is counted in memory is still worth reading, now above all
            logger.warning("metrics are incomplete", error=str(error))
        body, content_type = await asyncio.to_thread(self._metrics.render, request.headers.get("Accept", ""))
        # Response(content_type=…) does not take parameters, and this type has some.
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def hook(self, request: web.Request) -> web.Response:
        workspace, side = request.match_info["workspace"], request.match_info["side"]
        if side not in set(Side):
            return refuse(404, "a side is gorgias or remote")
        if (request.content_length or 0) > MAX_HOOK:
            raise web.HTTPRequestEntityTooLarge(MAX_HOOK, request.content_length or 0)
        body = await request.read()
        hint = await self._source.hinted(workspace, Side(side), request.headers, body)
        if reason := HINTS.get(hint):
            return refuse(hint.value, reason)
        return web.json_response({"accepted": True}, status=hint.value)

    async def page(self, _request: web.Request) -> web.Response:
        html = page.render(await self._source.workspaces(), datetime.now(UTC))
        headers = {"Content-Security-Policy": page.POLICY}
        return web.Response(text=html, content_type="text/html", headers=headers)


def _report(workspace: WorkspaceHealth) -> dict[str, Any]:
    """A workspace for `/readyz`: without the parked items, which belong on the page and in `syncd parked`."""
    report = asdict(workspace)
    report["parked"] = report.pop("parked_total")
    return report


@contextlib.asynccontextmanager
async def serving(app: web.Application, host: str, port: int, token: SecretStr | None) -> AsyncIterator[str]:
    """Serve the application and yield its base URL. Raises ConfigError for an address that must not or cannot be."""
    if token is None and not is_loopback(host):
        raise ConfigError([f"[http] listen: {host} is reachable from other machines, so [http] token must be set"])
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=5)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ConfigError([f"[http] listen: cannot listen on {host}:{port}: {error.strerror}"]) from error
        bound: int = runner.addresses[0][1]
        yield f"http://{f'[{host}]' if ':' in host else host}:{bound}"
    finally:
        await runner.cleanup()
