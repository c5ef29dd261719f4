"""Realistic tickets of an online shop: people, texts and habits from `seed.toml`, spread over the past weeks."""

import random
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import resources
from typing import Any

from connectors.gorgias.sandbox.assets import asset
from connectors.gorgias.sandbox.kinds import BY_TABLE
from connectors.gorgias.sandbox.people import People
from connectors.gorgias.sandbox.resources import create
from connectors.gorgias.sandbox.table import Row
from connectors.gorgias.sandbox.tags import create as create_tag
from connectors.gorgias.sandbox.world import Act, Doc

PAST = timedelta(weeks=4)
#: The agents who answer in a language, by their place in the list; anyone answers in English.
SPEAKERS = {"fr": [2], "es": [3], "ja": [4], "ar": [5], "de": [0, 1]}
VIA = {"email": "email", "chat": "gorgias_chat", "contact_form": "contact_form"}
TIERS = ("Bronze", "Silver", "Gold")


def seed(sandbox: People, tickets: int = 50, rng_seed: int = 1) -> None:
    """Fill an account with this many tickets; the same number of the same seed makes the same ones."""
    Shop(sandbox, random.Random(rng_seed)).open(tickets)


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that one person does at one moment."""

    at: datetime
    order: int
    do: Callable[[], None]


class Shop:
    """Makes a shop's account, and lives through its past weeks in the order of time."""

    def __init__(self, sandbox: People, rng: random.Random) -> None:
        self.sandbox = sandbox
        self.rng = rng
        text = resources.files("connectors.gorgias.sandbox").joinpath("seed.toml").read_text("utf-8")
        self.data: dict[str, Any] = tomllib.loads(text)
        self.now = sandbox.now()
        self.agents: list[int] = []
        self.teams: list[int] = []
        self.fields: dict[str, int] = {}
        self.files: dict[str, Doc] = {}

    def open(self, count: int) -> None:
        """The account's furniture, then the deeds of all conversations, as they happened."""
        with self.sandbox.at(self.now - PAST - timedelta(days=1)):
            self._furnish()
        scenarios = self.data["ticket"]
        deeds: list[Deed] = []
        for number in range(count):
            # Each scenario comes once before any comes twice.
            scenario = scenarios[number] if number < len(scenarios) else self.rng.choice(scenarios)
            deeds += Conversation(self, scenario).deeds(number)
        for deed in sorted(deeds, key=lambda one: (one.at, one.order)):
            with self.sandbox.at(deed.at):
                deed.do()
        self._look_back()

    def file(self, name: str) -> Doc:
        """A file of the shop: made once, and attached wherever it is needed."""
        if name not in self.files:
            self.files[name] = self.sandbox.attach(name, *asset(name))
        return self.files[name]

    def _furnish(self) -> None:
        for name, email, role, zone in self.data["agents"]:
            person = {"name": name, "email": email, "role": {"name": role}, "timezone": zone}
            self.agents.append(self._made("users", person, "email"))
        for team in self.data["team"]:
            members = [{"id": self.agents[place]} for place in team["members"]]
            more = {"members": members, "decoration": {"emoji": team["emoji"]}}
            self.teams.append(self._made("teams", {"name": team["name"], "description": team["description"], **more}))
        for tag in self.data["tag"]:
            if not self.sandbox.tags.where("name", tag["name"]):
                create_tag(self.sandbox, self._act, {"name": tag["name"], "decoration": {"color": tag["color"]}})
        for body in self.data["field"]:
            self.fields[body["label"]] = self._made("custom_fields", body, "label")
        for part, table in (("view", "views"), ("macro", "macros"), ("rule", "rules")):
            for body in self.data[part]:
                self._made(table, body)

    def _look_back(self) -> None:
        """A call by phone, and what customers say of closed tickets."""
        for ticket in list(self.sandbox.tickets)[:1]:
            self._call(ticket)
        for ticket in self.sandbox.tickets:
            if "closed_datetime" in ticket and self.rng.random() < 0.5:
                times = ("created_datetime", "sent_datetime", "scored_datetime")
                body = dict.fromkeys(times, ticket["closed_datetime"]) | {"score": self.rng.choice((3, 4, 5, 5))}
                owner = {"ticket_id": ticket["id"], "customer_id": ticket["customer_id"]}
                self.sandbox["surveys"].add({**body, **owner})

    def _call(self, ticket: Row) -> None:
        moment = {"created_datetime": ticket["created_datetime"]}
        about = {"ticket_id": ticket["id"], "customer_id": ticket["customer_id"]}
        call = self.sandbox["voice_calls"].add({**self.data["call"], **moment, **about})
        sound = {"url": self.file("receipt.txt")["url"], "duration": call["duration"]}
        self.sandbox["recordings"].add({"call_id": call["id"], **sound, **moment})
        for kind in ("phone-call-answered", "completed-phone-call"):
            body = {"type": kind, "call_id": call["id"], "user_id": self.agents[0], "account_id": 1}
            self.sandbox["voice_events"].add({**body, **moment})

    def _made(self, table: str, body: Doc, key: str = "name") -> int:
        known = (row["id"] for row in self.sandbox[table] if row.get(key) == body[key])
        found = next(known, None)
        return int(create(self.sandbox, self._act, BY_TABLE[table], body)["id"] if found is None else found)

    @property
    def _act(self) -> Act:
        return Act(self.sandbox.agent(self.sandbox.options.email))


class Conversation:
    """One ticket's life: a scenario with a customer, a purchase and an agent filled in."""

    def __init__(self, shop: Shop, scenario: Doc) -> None:
        self.shop = shop
        self.scenario = scenario
        self.ticket = 0
        rng, language = shop.rng, scenario["language"]
        self.name = rng.choice(shop.data["people"][language])
        self.agent = shop.agents[rng.choice(SPEAKERS.get(language, range(len(shop.agents))))]
        self.product, self.price = rng.choice(shop.data["products"])
        self.order = f"A-{rng.randrange(10_000, 99_999)}"
        self.tracking = f"1Z{rng.randrange(10**9, 10**10)}"
        number = shop.data["people"][language].index(self.name)
        self.email = f"{_plain(self.name) or language + str(number)}@customer.example"

    def deeds(self, number: int) -> Iterator[Deed]:
        """What happens when: the ticket, its steps hours apart; what would still be to come is left out."""
        rng = self.shop.rng
        moment = self.shop.now - PAST * rng.uniform(0.01, 1)
        for place, step in enumerate(self.scenario["step"]):
            moment += timedelta(minutes=rng.uniform(4, 60) if place == 0 else rng.uniform(10, 26 * 60))
            if moment > self.shop.now - timedelta(minutes=2):
                return
            yield Deed(moment, number, self._opening(step) if place == 0 else self._following(step))
            if place == 0:
                yield Deed(moment + timedelta(minutes=rng.uniform(1, 90)), number, self._triage)

    def _opening(self, step: Doc) -> Callable[[], None]:
        return lambda: self._open(step)

    def _following(self, step: Doc) -> Callable[[], None]:
        return lambda: self._follow(step)

    def _open(self, step: Doc) -> None:
        sandbox, channel = self.shop.sandbox, self.scenario.get("channel", "email")
        customer_id = sandbox.customer(self.email, self.name)
        if "note" not in sandbox.customers[customer_id]:
            tier = {"custom_fields": {str(self.shop.fields["Loyalty tier"]): self.shop.rng.choice(TIERS)}}
            more = {"language": self.scenario["language"], "note": "Likes to hear the reason, not only the result."}
            sandbox.customers.change(sandbox.customers[customer_id], more | tier)
        self.ticket = sandbox.create_ticket(
            self._filled(self.scenario["subject"]),
            self._filled(step["text"]),
            customer=self.email,
            message=self._message(step),
            ticket={"channel": channel, "via": VIA[channel], "language": self.scenario["language"]},
        )

    def _triage(self) -> None:
        """An agent sorts the ticket: tags, priority, assignee, custom fields."""
        sandbox, scenario = self.shop.sandbox, self.scenario
        if self.ticket not in sandbox.tickets:
            return
        fields = self.shop.fields
        sandbox.set_field(self.ticket, fields["Contact reason"], scenario["reason"])
        sandbox.set_field(self.ticket, fields["Order number"], self.order)
        if "items" in scenario:
            sandbox.set_field(self.ticket, fields["Items affected"], scenario["items"])
        if "refund" in scenario:
            sandbox.set_field(self.ticket, fields["Refund approved"], scenario["refund"])
        sandbox.add_tags(self.ticket, *scenario.get("tags", ()), by=self.agent)
        if scenario.get("priority", "normal") != "normal":
            sandbox.set_priority(self.ticket, scenario["priority"], by=self.agent)
        if len(scenario["step"]) > 1:
            sandbox.assign(self.ticket, self.agent, by=self.agent)
        if "return" in scenario.get("tags", ()):
            sandbox.assign_team(self.ticket, self.shop.teams[1], by=self.agent)

    def _follow(self, step: Doc) -> None:
        sandbox = self.shop.sandbox
        if step.get("close"):
            sandbox.set_status(self.ticket, "closed", by=self.agent)
            return
        text, message = self._filled(step["text"]), self._message(step)
        if step["who"] == "customer":
            sandbox.customer_reply(self.ticket, text, **message)
        elif step["who"] == "note":
            sandbox.note(self.ticket, text, by=self.agent, **message)
        else:
            sandbox.reply(self.ticket, text, by=self.agent, **message)

    def _message(self, step: Doc) -> Doc:
        files = [self.shop.file(name) for name in step.get("files", ())]
        out: Doc = {"attachments": files} if files else {}
        if "html" in step:
            out["body_html"] = self._filled(step["html"], files[0]["url"] if files else "")
        channel = self.scenario.get("channel", "email")
        if channel != "email" and step["who"] != "note":
            out |= {"channel": channel, "via": VIA[channel], "source": {"type": channel}}
        return out

    def _filled(self, text: str, image: str = "") -> str:
        agent = self.shop.sandbox.users[self.agent]
        return text.strip().format(
            name=self.name,
            first=self.name.split(" ", maxsplit=1)[0],
            agent=agent["firstname"],
            order=self.order,
            product=self.product,
            price=self.price,
            tracking=self.tracking,
            image=image,
        )


def _plain(name: str) -> str:
    """A name as the first part of an e-mail address; empty for names in other scripts."""
    folded = "".join(_FOLDED.get(letter, letter) for letter in name.lower())
    return re.sub(r"[^a-z0-9.]", "", folded.replace(" ", ".")).strip(".")


_FOLDED = dict(zip("áàäçéèêëíñóöôúüïî", "aaaceeeeinooouuii", strict=True)) | {"ß": "ss"}
