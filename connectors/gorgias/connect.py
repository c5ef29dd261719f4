"""`syncd connect gorgias`: asks for what leads into an account, tries it, and writes it down where it belongs."""

import asyncio
import re
import secrets
import sys
import webbrowser
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import tomlkit
from aiohttp import web
from pydantic import ValidationError
from tomlkit.exceptions import TOMLKitError
from yarl import URL

from connectors.gorgias.config import GorgiasConfig
from connectors.gorgias.connector import GorgiasConnector
from connectors.gorgias.credentials import AUTHORIZE, exchanged
from connectors.gorgias.tokens import Tokens, write_secret
from syncd.errors import BadRequest, ConfigError, Unauthorized
from syncd.model import Side

#: What the sync needs (documented names); `offline` is what makes the access last.
SCOPES = (
    "openid email profile offline account:read users:read customers:read customers:write tickets:read tickets:write "
    "custom_fields:read custom_fields:write events:read integrations:read tags:read tags:write"
)
#: Seconds that a person has to agree in the browser.
PATIENCE = 600.0
WORKSPACE = re.compile(r"[a-z0-9_-]+")


@click.group()
def connect() -> None:
    """Connect an account: ask for its credentials, try them, and write the configuration."""


@connect.command()
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--subdomain", help="acme of acme.gorgias.com.")
@click.option("--base-url", help="The whole address, for a sandbox.")
@click.option("--email", help="The user whose API key it is.")
@click.option("--key-file", type=click.Path(path_type=Path, allow_dash=True), help="Where the key is; - reads it here.")
@click.option("--oauth", is_flag=True, help="An app's way in (OAuth2) instead of a user's key.")
@click.option("--client-id", help="The app's id.")
@click.option("--secret-file", type=click.Path(path_type=Path, allow_dash=True), help="Where the app's secret is.")
@click.option("--port", default=0, help="Where the browser comes back to; the app must know http://127.0.0.1:PORT/.")
@click.option("--no-browser", is_flag=True, help="Only print the address to open.")
@click.option("--force", is_flag=True, help="Replace what CONFIG says about Gorgias.")
def gorgias(config: Path, **given: Any) -> None:
    """Connect the Gorgias account of the workspace in CONFIG, a file that is made when there is none.

    What is not given is asked for. CONFIG is written once the credentials were tried. They go into a file of their own
    beside it, which only you can read; they never stand in CONFIG or on the command line.
    """
    plan = Place(config, given["force"])
    address = _address(given)
    entered = _app(plan, address, given) if given["oauth"] else _user(plan, address, given)
    who = asyncio.run(entered.tried())
    plan.write(entered.table, entered.files)
    click.echo(f"connected as {who}; {plan.config} says so")
    click.echo(f"next: {plan.advice}")


@dataclass(slots=True)
class Place:
    """The workspace's file, and what may be written beside it. Raises BadRequest when it holds an account already."""

    config: Path
    force: bool
    doc: tomlkit.TOMLDocument
    new: bool

    def __init__(self, config: Path, force: bool) -> None:
        self.config, self.force, self.new = config, force, not config.exists()
        if self.new and not WORKSPACE.fullmatch(config.stem):
            raise BadRequest(f"{config.name}: name it after the workspace, in small letters, such as acme.toml")
        try:
            text = f'[workspace]\nname = "{config.stem}"\n' if self.new else config.read_text(encoding="utf-8")
            self.doc = tomlkit.parse(text)
        except (OSError, UnicodeDecodeError, TOMLKitError) as error:
            raise ConfigError([f"{config}: cannot be read: {error}"]) from error
        if "gorgias" in self.doc and not force:
            raise BadRequest(f"{config} has a table [gorgias] already: --force replaces its credentials")

    @property
    def folder(self) -> Path:
        """Where the file is."""
        return self.config.parent

    def file(self, what: str) -> Path:
        """A file of its own for a secret."""
        return self.folder / f"{self.config.stem}-gorgias.{what}"

    def write(self, table: Mapping[str, Any], files: Mapping[Path, str]) -> None:
        """Write secrets, then the table. Raises BadRequest for a file that is there."""
        for path in files:
            if path.exists() and not self.force:
                raise BadRequest(f"{path} is there already: --force replaces it")
        for path, text in files.items():
            write_secret(path, text)
        held = self.doc.setdefault("gorgias", tomlkit.table())
        for key in ("subdomain", "base_url", "email", "api_key", "oauth"):
            held.pop(key, None)
        for key, value in table.items():
            held[key] = _inline(value)
        self.config.write_text(tomlkit.dumps(self.doc), encoding="utf-8")

    @property
    def advice(self) -> str:
        """What to do now."""
        if "remote" not in self.doc:
            return f"add the table [remote] to {self.config} (config.example.toml has one for every tracker)"
        return f"syncd check {self.config} --live"


def _inline(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    table = tomlkit.inline_table()
    table.update({key: _inline(inner) for key, inner in value.items()})
    return table


@dataclass(frozen=True, slots=True)
class Entered:
    """What was given: the table to write, the secrets' files, and a way to try it."""

    table: Mapping[str, Any]
    files: dict[Path, str]
    values: Mapping[str, Any]
    before: Callable[[], Awaitable[None]] | None = None
    #: Where an app's tokens are while they are tried, and where they stay once they were.
    tokens: tuple[Path, Path] | None = None

    async def tried(self) -> str:
        """Whose account it is; tokens that do not lead into one leave no trace. Raises BadRequest, AccountError."""
        if self.tokens is None:
            return await self._asked()
        trial, lasting = self.tokens
        try:
            who = await self._asked()
            self.files[lasting] = trial.read_text(encoding="utf-8")
        finally:
            trial.unlink(missing_ok=True)
        return who

    async def _asked(self) -> str:
        if self.before:
            await self.before()
        settings = _validated(self.values)
        async with GorgiasConnector.open(settings, Side.GORGIAS, "connect") as account:
            me = await account.client.call("get_single_gorgias_user_by_id", {"id": 0})
        return f"{me.get('email')} at {settings.url}"


def _validated(values: Mapping[str, Any]) -> GorgiasConfig:
    try:
        return GorgiasConfig.model_validate(dict(values))
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, row['loc']))}: {row['msg']}".lstrip(": ") for row in error.errors()]
        raise BadRequest("these cannot be an account", problems) from error


def _address(given: Mapping[str, Any]) -> dict[str, str]:
    if given["base_url"]:
        return {"base_url": given["base_url"]}
    said = given["subdomain"] or click.prompt("Subdomain (acme of acme.gorgias.com)", err=True)
    return {"subdomain": said.strip().removeprefix("https://").partition(".")[0]}


def _user(plan: Place, address: dict[str, str], given: Mapping[str, Any]) -> Entered:
    email = given["email"] or click.prompt("E-mail of the user whose API key it is", err=True)
    key = _secret(given["key_file"], "API key (Settings, REST API)")
    file = plan.file("key")
    table = {**address, "email": email, "api_key": {"file": file.name}}
    return Entered(table, {file: key + "\n"}, {**address, "email": email, "api_key": key})


def _secret(file: Path | None, question: str) -> str:
    if file is None:
        return str(click.prompt(question, hide_input=True, err=True)).strip()
    try:
        found = (sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is not text'}") from error
    if not found:
        raise BadRequest(f"{file} is empty")
    return found


# -- an app ---------------------------------------------------------------------------------------------------------


def _app(plan: Place, address: dict[str, str], given: Mapping[str, Any]) -> Entered:
    client_id = given["client_id"] or click.prompt("The app's client id", err=True)
    secret = _secret(given["secret_file"], "The app's client secret")
    secret_file, token_file = plan.file("secret"), plan.file("tokens")
    trial = token_file.with_name(f".{token_file.name}.trial")
    oauth = {"client_id": client_id, "client_secret": secret, "token_file": str(trial.absolute())}
    values = {**address, "oauth": oauth}
    files = {secret_file: secret + "\n"}
    if token_file.exists() and not plan.force:
        raise BadRequest(f"{token_file} is there already: --force replaces it")

    async def agree() -> None:
        settings = _validated(values)
        tokens = await _agreed(settings, given["port"], browser=not given["no_browser"])
        tokens.write(trial)

    held = {"client_id": client_id, "client_secret": {"file": secret_file.name}, "token_file": token_file.name}
    return Entered({**address, "oauth": held}, files, values, agree, (trial, token_file))


async def _agreed(settings: GorgiasConfig, port: int, *, browser: bool) -> Tokens:
    """The tokens that a person's consent in the browser leads to. Raises Unauthorized, AccountError."""
    if settings.oauth is None:
        raise RuntimeError("an app without its table")
    state, arrived = secrets.token_urlsafe(24), asyncio.get_running_loop().create_future()

    async def back(request: web.BaseRequest) -> web.Response:
        query = request.query
        if request.path != "/" or not secrets.compare_digest(query.get("state", "").encode(), state.encode()):
            return web.Response(status=404, text="Nobody is waiting for this.")
        if not arrived.done():
            arrived.set_result(query.get("code") or "")
        return web.Response(text="syncd has it. You can close this page.")

    runner = web.ServerRunner(web.Server(back))
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        here = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        _show(_consent(settings, here, state), browser=browser)
        code = await asyncio.wait_for(arrived, PATIENCE)
    except TimeoutError as error:
        raise Unauthorized(f"nobody agreed within {PATIENCE / 60:.0f} minutes", hint="run it again") from error
    finally:
        await runner.cleanup()
    if not code:
        raise Unauthorized("Gorgias did not let the app in", hint="agree in the browser, as an admin of the account")
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": here}
    answer = await exchanged(settings.url, settings.oauth, "Gorgias", **form)
    return Tokens.of(answer, datetime.now(UTC))


def _consent(settings: GorgiasConfig, here: str, state: str) -> str:
    client_id = settings.oauth.client_id if settings.oauth else ""
    query = {"response_type": "code", "client_id": client_id, "redirect_uri": here, "scope": SCOPES}
    return str(URL(settings.url + AUTHORIZE).with_query({**query, "state": state, "nonce": secrets.token_urlsafe(16)}))


def _show(address: str, *, browser: bool) -> None:
    click.echo(f"Agree in the browser: {address}", err=True)
    if browser:
        webbrowser.open(address)
