"""A Gorgias sandbox and a real Redmine, the people who work in both, and an independent look at whether they agree.

The comparison reads the sandbox's own tables and Redmine's API by plain HTTP: nothing of the engine or of a connector
takes part in it.
"""

import asyncio
import hashlib
import json
import os
import random
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from connectors.gorgias.sandbox import Sandbox
from tests.e2e.servers import RedmineServer

PRIORITIES = {"low": "Low", "normal": "Normal", "high": "High", "critical": "Urgent"}
AGENTS = ("alice@example.net", "bob@example.net")
SIGNATURE = re.compile(r"^.* · \d{4}-\d\d-\d\d \d\d:\d\d UTC · \S+\s*")


@dataclass
class Town:
    """Both products, and a random generator whose seed is printed."""

    sandbox: Sandbox
    base_url: str
    redmine: RedmineServer
    session: aiohttp.ClientSession
    folder: Path
    seed: int = 1
    severities: tuple[str, ...] = ("S1", "S2", "S3")
    said: Counter[str] = field(default_factory=Counter)
    private: set[str] = field(default_factory=set)
    files: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        print(f"seed {self.seed}")
        self.rng = random.Random(self.seed)
        self.number = 0

    # -- what people do at Gorgias --------------------------------------------------------------------------------

    def word(self, what: str) -> str:
        """A text that stands nowhere else."""
        self.number += 1
        return f"{what} {self.number:05d} naïve 😀 text"

    def gorgias_ticket(self) -> int:
        """A customer writes in, agents answer and note; 1 to 6 messages, tags, a field, files."""
        rng, people = self.rng, self.sandbox
        gid = people.create_ticket(
            subject=self.word("subject"),
            customer=f"c{rng.randrange(40)}@customer.example",
            text=self.say(self.word("question")),
            message={"attachments": [self.file()]} if rng.random() < 0.2 else None,
        )
        for _ in range(rng.randrange(6)):
            self.gorgias_message(gid)
        people.add_tags(gid, *rng.sample(["vip", "billing", "late", "été"], rng.randrange(3)))
        if rng.random() < 0.4:
            people.set_priority(gid, rng.choice(list(PRIORITIES)), by=AGENTS[0])
        if rng.random() < 0.3:
            people.set_status(gid, "closed", by=AGENTS[0])
        if rng.random() < 0.3:
            people.assign(gid, rng.choice(AGENTS), by=AGENTS[0])
        if rng.random() < 0.5:
            people.set_field(gid, self.field("Severity"), rng.choice(self.severities))
        return gid

    def gorgias_message(self, gid: int) -> None:
        """Somebody writes at Gorgias: the customer, an agent to the customer, or an agent's note."""
        kind = self.rng.randrange(3)
        text = self.say(self.word("message"), private=kind == 2)
        files = {"attachments": [self.file()]} if self.rng.random() < 0.15 else {}
        if kind == 0:
            self.sandbox.customer_reply(gid, text, **files)
        elif kind == 1:
            self.sandbox.reply(gid, text, by=AGENTS[0], **files)
        else:
            self.sandbox.note(gid, text, by=AGENTS[1], **files)

    def say(self, text: str, *, private: bool = False) -> str:
        """Remember what was said, to look for it on both sides."""
        self.said[text] += 1
        if private:
            self.private.add(text)
        return text

    def file(self) -> dict[str, Any]:
        """A file of its own content."""
        self.number += 1
        content = f"file {self.number}".encode() * 50
        self.files[hashlib.sha256(content).hexdigest()] += 1
        return dict(self.sandbox.attach(f"file-{self.number}.txt", "text/plain", content))

    def field(self, label: str) -> int:
        """The id of a custom field of Gorgias."""
        return next(int(row["id"]) for row in self.sandbox["custom_fields"] if row["label"] == label)

    def gorgias_edit(self, gid: int) -> None:
        """Somebody changes one thing at Gorgias."""
        people, rng = self.sandbox, self.rng
        by = AGENTS[0]
        choice = rng.randrange(7)
        if choice == 0:
            people.set_subject(gid, self.word("new subject"), by=by)
        elif choice == 1:
            people.set_status(gid, rng.choice(["open", "closed"]), by=by)
        elif choice == 2:
            people.set_priority(gid, rng.choice(list(PRIORITIES)), by=by)
        elif choice == 3:
            people.assign(gid, rng.choice([*AGENTS, None]), by=by)
        elif choice == 4:
            people.add_tags(gid, rng.choice(["new", "hot", "vip"]), by=by)
        elif choice == 5:
            people.remove_tags(gid, rng.choice(["vip", "late", "billing"]), by=by)
        else:
            self.gorgias_message(gid)

    # -- what people do at Redmine ----------------------------------------------------------------------------------

    async def call(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, raw: bytes | None = None
    ) -> Any:
        """A call of Redmine as a person."""
        headers = {"X-Redmine-API-Key": key or self.redmine.key}
        headers["Content-Type"] = "application/octet-stream" if raw is not None else "application/json"
        data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        async with self.session.request(method, self.redmine.url + path, data=data, headers=headers) as response:
            text = await response.text()
            assert response.status < 300, f"{method} {path}: {response.status} {text}"
            return json.loads(text) if text.strip() else None

    async def redmine_issue(self) -> int:
        """An issue with a description and some notes."""
        rng = self.rng
        numbers = self.redmine.seeded["custom_fields"]
        tags = ",".join(rng.sample(["pump", "vip", "leak"], rng.randrange(3)))
        issue = {
            "project_id": "support",
            "tracker_id": 3,
            "subject": self.word("issue"),
            "description": self.say(self.word("description")),
            "priority_id": rng.randrange(1, 5),
            "custom_fields": [
                {"id": numbers["Tags"], "value": tags},
                {"id": numbers["Severity"], "value": rng.choice(["S1", "S2", ""])},
            ],
        }
        made = await self.call("POST", "/issues.json", {"issue": issue}, key=self.redmine.key_of("alice"))
        rid = int(made["issue"]["id"])
        for _ in range(rng.randrange(3)):
            await self.redmine_note(rid)
        return rid

    async def redmine_note(self, rid: int) -> None:
        """Somebody writes a note, perhaps a private one, perhaps with a file."""
        private = self.rng.random() < 0.3
        issue: dict[str, Any] = {"notes": self.say(self.word("remark"), private=private), "private_notes": private}
        if self.rng.random() < 0.15:
            self.number += 1
            content = f"redmine file {self.number}".encode() * 40
            self.files[hashlib.sha256(content).hexdigest()] += 1
            upload = await self.call("POST", f"/uploads.json?filename=r{self.number}.txt", raw=content)
            issue["uploads"] = [
                {"token": upload["upload"]["token"], "filename": f"r{self.number}.txt", "content_type": "text/plain"}
            ]
        await self.call("PUT", f"/issues/{rid}.json", {"issue": issue}, key=self.redmine.key_of("alice"))

    async def redmine_edit(self, rid: int) -> None:
        """Somebody changes one thing at Redmine."""
        rng = self.rng
        change: dict[str, Any]
        choice = rng.randrange(6)
        if choice == 0:
            change = {"subject": self.word("new issue subject")}
        elif choice == 1:
            change = {"status_id": rng.choice([1, 2, 5])}
        elif choice == 2:
            change = {"priority_id": rng.randrange(1, 5)}
        elif choice == 3:
            change = {"assigned_to_id": rng.choice([5, 6, ""])}
        elif choice == 4:
            issue = (await self.call("GET", f"/issues/{rid}.json"))["issue"]
            number = self.redmine.seeded["custom_fields"]["Tags"]
            tags = next((f["value"] for f in issue["custom_fields"] if f["id"] == number), "") or ""
            together = sorted({*filter(None, map(str.strip, tags.split(","))), rng.choice(["r1", "r2"])})
            change = {"custom_fields": [{"id": number, "value": ", ".join(together)}]}
        else:
            await self.redmine_note(rid)
            return
        await self.call("PUT", f"/issues/{rid}.json", {"issue": change}, key=self.redmine.key_of("alice"))

    async def issues(self) -> list[dict[str, Any]]:
        """Every issue of the project, whole."""
        found: list[dict[str, Any]] = []
        while True:
            query = f"/issues.json?status_id=*&project_id=support&limit=100&offset={len(found)}&sort=id"
            page = (await self.call("GET", query))["issues"]
            if not page:
                break
            found += page
        paths = [f"/issues/{issue['id']}.json?include=journals,attachments" for issue in found]
        return [(await self.call("GET", path))["issue"] for path in paths]

    # -- syncd ------------------------------------------------------------------------------------------------------

    def config(self, **sync: str) -> Path:
        """The workspace's file."""
        path = self.folder / "acme.toml"
        lines = "\n".join(f"{name} = {value}" for name, value in sync.items())
        path.write_text(f"""
[workspace]
name = "acme"
poll_interval = "2s"
[store]
url = "sqlite:///acme.db"
[http]
listen = "127.0.0.1:0"
[gorgias]
base_url = "{self.base_url}"
email = "{self.sandbox.options.email}"
api_key = "{self.sandbox.options.api_key}"
[remote]
connector = "redmine"
url = "{self.redmine.url}"
api_key = "{self.redmine.key}"
project = "support"
tracker = "Support"
[sync]
{lines}
""")
        return path

    async def syncd(self, *words: str, patience: float = 900) -> tuple[int, str]:
        """Run the command in a process of its own; its exit code and what it printed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "syncd", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "NO_COLOR": "1"},
        )  # fmt: skip
        out, _ = await asyncio.wait_for(process.communicate(), patience)
        return process.returncode or 0, out.decode()

    # -- do both sides agree? -----------------------------------------------------------------------------------------

    async def differences(self) -> list[str]:
        """Everything that is not the same on both sides; empty when they agree."""
        issues = await self.issues()
        by_gorgias = self._pairs(issues)
        wrong: list[str] = []
        tickets = list(self.sandbox.tickets.rows.values())
        if len(tickets) != len(issues):
            wrong.append(f"{len(tickets)} tickets and {len(issues)} issues")
        texts = {"gorgias": Counter[str](), "redmine": Counter[str]()}
        for row in tickets:
            ticket = self.sandbox.ticket(int(row["id"]))
            issue = by_gorgias.get(int(row["id"]))
            if issue is None:
                wrong.append(f"ticket {row['id']} has no issue")
                continue
            wrong += self._fields(ticket, issue)
            texts["gorgias"].update(_said(m["body_text"]) for m in ticket["messages"])
            wrong += self._privacy(ticket, issue)
        for issue in issues:
            texts["redmine"].update(_said(note["notes"]) for note in issue["journals"] if note["notes"])
            texts["redmine"].update([_said(issue["description"])] if issue["description"] else [])
        for side, found in texts.items():
            for text, times in self.said.items():
                if found[text] != times:
                    wrong.append(f"{text!r} stands {found[text]} times at {side} instead of {times}")
        wrong += await self._files(issues)
        if self.sandbox.outbox:
            wrong.append(f"{len(self.sandbox.outbox)} mails would have been sent: {self.sandbox.outbox[0]}")
        return wrong

    def _pairs(self, issues: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
        """Issues by ticket, found through the markers on either side."""
        pairs: dict[int, dict[str, Any]] = {}
        by_id = {str(issue["id"]): issue for issue in issues}
        for issue in issues:
            marker = next((f["value"] for f in issue["custom_fields"] if f["name"] == "External ID"), "") or ""
            if marker.startswith("syncd:acme:gorgias:"):
                pairs[int(marker.rpartition(":")[2])] = issue
        for row in self.sandbox.tickets.rows.values():
            marker = row.get("external_id") or ""
            if marker.startswith("syncd:acme:remote:") and marker.rpartition(":")[2] in by_id:
                pairs[int(row["id"])] = by_id[marker.rpartition(":")[2]]
        return pairs

    def _fields(self, ticket: dict[str, Any], issue: dict[str, Any]) -> list[str]:
        custom = {field["name"]: field.get("value") for field in issue["custom_fields"]}
        agents = {"alice@example.net": "Alice Agent", "bob@example.net": "Bob Builder", None: None}
        assignee = (ticket.get("assignee_user") or {}).get("email")
        severity = (ticket["custom_fields"].get(str(self.field("Severity"))) or {}).get("value")
        pairs = {
            "subject": (ticket["subject"], issue["subject"]),
            "status": (ticket["status"] == "closed", issue["status"]["name"] in {"Closed", "Rejected"}),
            "priority": (PRIORITIES[ticket["priority"]], issue["priority"]["name"]),
            "assignee": (agents[assignee], (issue.get("assigned_to") or {}).get("name")),
            "severity": (severity or None, custom["Severity"] or None),
            "tags": (
                sorted(tag["name"] for tag in ticket["tags"]),
                sorted(filter(None, (tag.strip() for tag in (custom["Tags"] or "").split(",")))),
            ),
        }
        return [f"{ticket['id']}/{issue['id']} {name}: {a!r} and {b!r}" for name, (a, b) in pairs.items() if a != b]

    def _privacy(self, ticket: dict[str, Any], issue: dict[str, Any]) -> list[str]:
        shown = [_said(message["body_text"]) for message in ticket["messages"] if message["public"]]
        shown += [_said(note["notes"]) for note in issue["journals"] if note["notes"] and not note["private_notes"]]
        shown += [_said(issue["description"] or "")]
        return [f"{text!r} is private and shown" for text in shown if text in self.private]

    async def _files(self, issues: list[dict[str, Any]]) -> list[str]:
        at_redmine: Counter[str] = Counter()
        for issue in issues:
            for file in issue["attachments"]:
                url = self.redmine.url + urlsplit(file["content_url"]).path
                async with self.session.get(url, headers={"X-Redmine-API-Key": self.redmine.key}) as answer:
                    at_redmine[hashlib.sha256(await answer.read()).hexdigest()] += 1
        at_gorgias: Counter[str] = Counter()
        for row in self.sandbox.messages.rows.values():
            for file in row.get("attachments") or []:
                stored = self.sandbox.files.where("path", urlsplit(file["url"]).path)[0]
                at_gorgias[hashlib.sha256(self.sandbox.blobs[stored["digest"]]).hexdigest()] += 1
        return [
            f"files differ at {side}"
            for side, found in (("redmine", at_redmine), ("gorgias", at_gorgias))
            if found != self.files
        ]


def severity_field(sandbox: Sandbox) -> None:
    """A dropdown at Gorgias that bears the name of a field of the seeded Redmine."""
    choices = {"data_type": "text", "input_settings": {"input_type": "dropdown", "choices": ["S1", "S2", "S3", "S4"]}}
    sandbox["custom_fields"].add(
        {"object_type": "Ticket", "label": "Severity", "definition": choices, "created_datetime": sandbox.stamp()}
    )


def _said(text: str | None) -> str:
    """A text without the line that names its author."""
    return SIGNATURE.sub("", (text or "").replace("\r\n", "\n"), count=1).strip()
