"""A real Roundup tracker on loopback, ready to use: for the demo and for tests.

Run as a program (`python -m syncd.demo.roundup_tracker FOLDER --port 0`) it makes the tracker if FOLDER has none,
serves it, and prints one JSON line when it answers. Nothing leaves the machine: no mail is sent, and it listens on
127.0.0.1 alone.
"""

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import pwd
import shutil
import signal
import socketserver
import sys
import sysconfig
import threading
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

#: The class template of Roundup itself, with what syncd needs: markers and private messages. See docs/connectors.
PROPERTIES = """
# What syncd needs: its marker on issues and messages, and messages that only the team may read.
issue.addprop(external_id=String())
msg.addprop(external_id=String(), private=Boolean())
# Properties of this demo.
issue.addprop(severity=String(), points=Number(), billable=Boolean(), due=Date())

# The account of syncd reads addresses (to know people by them) and retires issues.
db.security.addRole(name='Sync', description='What syncd may do beside what every user may')
db.security.addPermissionToRole('Sync', 'View', 'user')
for cl in 'issue', 'msg':
    db.security.addPermissionToRole('Sync', 'Retire', cl)


def is_public(db, userid, itemid):
    return not db.msg.get(itemid, 'private')


p = db.security.addPermission(name='View', klass='msg', check=is_public, description='Messages that are not private')
db.security.addPermissionToRole('Anonymous', p)
"""
#: In the template, visitors without an account read every message: here not the private ones, nor any file.
OPEN_TO_ALL = """'issue', 'file', 'msg', 'keyword', 'priority', 'status':
    db.security.addPermissionToRole('Anonymous'"""
NOT_QUITE = OPEN_TO_ALL.replace(" 'file', 'msg',", "")

#: Where the page of an issue names a message: there it says so when customers do not see it.
MESSAGE = 'i18n:translate="">msg<tal:x replace="msg/id" i18n:name="id" /> (view)</a>'
INTERNAL = MESSAGE + '\n    <em tal:condition="msg/private">internal note</em>'

PASSWORD = "demo-secret"  # noqa: S105 (a demo on loopback)
AGENTS = {"alice": "Alice Agent", "bob": "Bob Builder", "carol": "Carol Carrier"}


@dataclass(frozen=True, slots=True)
class RoundupServer:
    """A tracker that answers at `url`; every account has the same password."""

    url: str
    user: str
    password: str
    admin: str
    agents: tuple[str, ...]
    pid: int


def template() -> Path:
    """The folder of Roundup's own "classic" template."""
    spec = importlib.util.find_spec("roundup")
    if spec is None or spec.origin is None:
        raise RuntimeError("Roundup is not installed: in syncd's folder, pip install '.[demo]'")
    roots = (Path(sysconfig.get_path("data")), Path(spec.origin).parents[4])
    for root in roots:
        if (root / "share/roundup/templates/classic/schema.py").is_file():
            return root / "share/roundup/templates/classic"
    raise RuntimeError(f"Roundup's templates are not in {' or '.join(str(root) for root in roots)}")


def install(folder: Path) -> None:
    """Make a tracker in `folder`: the classic template, SQLite, three agents, an account for syncd, no mail."""
    from roundup import init, instance, password  # noqa: PLC0415 (an optional dependency)

    folder.parent.mkdir(parents=True, exist_ok=True)
    config = _config(folder, "http://127.0.0.1/")
    init.install(str(folder), str(template()))
    (folder / "detectors/nosyreaction.py").unlink()  # it mails the people of an issue
    _rewrite(folder / "schema.py", OPEN_TO_ALL, NOT_QUITE, PROPERTIES)
    _rewrite(folder / "html/issue.item.html", MESSAGE, INTERNAL)
    config.save(str(folder / "config.ini"))
    secret = password.Password(PASSWORD, config=config)
    tracker = instance.open(str(folder))
    tracker.init(secret)
    db = tracker.open("admin")
    db.user.create(username="syncd", password=secret, realname="syncd", address="syncd@demo.example", roles="User,Sync")
    for name, real in AGENTS.items():
        db.user.create(username=name, password=secret, realname=real, address=f"{name}@demo.example", roles="User")
    db.commit()
    db.close()


def _rewrite(path: Path, old: str, new: str, more: str = "") -> None:
    text = path.read_text(encoding="utf-8")
    if old not in text:
        raise RuntimeError(f"{path.name} of Roundup's classic template is not as this demo knows it")
    path.write_text(text.replace(old, new) + more, encoding="utf-8")


def _config(folder: Path, url: str) -> Any:
    from roundup.configuration import CoreConfig  # noqa: PLC0415 (an optional dependency)

    config = CoreConfig(str(folder)) if (folder / "config.ini").exists() else CoreConfig()
    for name, value in {
        "TRACKER_WEB": url,
        "TRACKER_NAME": "Demo tracker",
        "MAIL_DOMAIN": "demo.example",
        "MAIL_DEBUG": str(folder / "mail.log"),  # whatever would be mailed is written here instead
        "ADMIN_EMAIL": "admin@demo.example",
        "DATABASE": "db",
        "RDBMS_BACKEND": "sqlite",
        "INDEXER": "native",  # unset, every call looks for two search engines that are not installed
        # Basic authentication checks the password on every call: 250,000 rounds would cost 0.1 s each.
        "PASSWORD_PBKDF2_DEFAULT_ROUNDS": 1000,
        "WEB_MIGRATE_PASSWORDS": False,
        "WEB_API_CALLS_PER_INTERVAL": 0,
        "WEB_API_FAILED_LOGIN_LIMIT": 0,
        "WEB_LOGIN_ATTEMPTS_MIN": 0,
    }.items():
        config[name] = value
    return config


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64

    def server_bind(self) -> None:
        """Bind without asking the resolver for the host's name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    def get_environ(self) -> dict[str, Any]:
        """Say nothing of a content type where the request says nothing: Roundup would refuse a plain DELETE."""
        environ: dict[str, Any] = super().get_environ()
        if "Content-Type" not in self.headers:
            environ.pop("CONTENT_TYPE", None)
        return environ

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name is the base class's)
        """Log no request: stderr shows Roundup's own complaints only."""


def serve(folder: Path, port: int, tied: bool = False) -> None:
    """Serve the tracker until SIGTERM or SIGINT; when `tied`, also no longer than standard input is open."""
    from roundup.cgi.wsgi_handler import RequestDispatcher  # noqa: PLC0415 (an optional dependency)

    if not (folder / "config.ini").exists():
        install(folder)
    server = _Server(("127.0.0.1", port), _Handler)
    url = f"http://127.0.0.1:{server.server_port}/"
    _config(folder, url).save(str(folder / "config.ini"))
    for backup in folder.glob("config.bak"):
        backup.unlink()
    _become_nobody(folder)
    server.set_app(RequestDispatcher(str(folder)))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if tied:
        threading.Thread(target=_end_with_input, daemon=True).start()
    ready = RoundupServer(url, "syncd", PASSWORD, "admin", tuple(AGENTS), os.getpid())
    print(json.dumps(asdict(ready)), flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


def _end_with_input() -> None:
    """End this process when whoever started it is gone, however that came about."""
    while os.read(0, 1024):  # not by way of sys.stdin, whose lock this thread would hold when the process ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _become_nobody(folder: Path) -> None:
    """Give up root's rights where `nobody` can reach the tracker and the programs; else stay."""
    if os.geteuid() != 0:
        return
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return
    needed = (folder.parent, template(), Path(sys.executable).resolve(), Path(__file__).parent)
    os.setegid(nobody.pw_gid)
    os.seteuid(nobody.pw_uid)
    reachable = all(os.access(path, os.R_OK | os.X_OK, effective_ids=True) for path in needed)
    os.seteuid(0)
    os.setegid(0)
    if reachable:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)


@asynccontextmanager
async def roundup_server(folder: Path, port: int = 0, *, fresh: bool = False) -> AsyncIterator[RoundupServer]:
    """A tracker in a process of its own, ready to answer; stopped at the end. `fresh` empties `folder` first."""
    if fresh:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    command = (sys.executable, "-m", __spec__.name, str(folder), "--port", str(port), "--tied")
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    try:
        assert process.stdout is not None  # noqa: S101 (it was asked for)
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        if not line:
            raise RuntimeError(f"the tracker did not start: exit status {await process.wait()}")
        values = json.loads(line)
        yield RoundupServer(**{**values, "agents": tuple(values["agents"])})
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        if process.stdin:
            process.stdin.close()


def main() -> None:
    """Serve a tracker: the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tied", action="store_true", help="end when standard input does")
    arguments = parser.parse_args()
    serve(arguments.folder.resolve(), arguments.port, arguments.tied)


if __name__ == "__main__":
    main()
