"""What happens in the demo: the issues that the tracker begins with, and a working day on both sides."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from syncd.demo.helpdesk import Helpdesk
from syncd.demo.tracker import Tracker

SCANS = "08:14 A-10713 label created\n08:15 A-10713 (no scan)\n08:31 A-10714 label created\n08:32 A-10714 picked up\n"
CHECK = "lot,article,checked,torn\n2231,Fjäll 2,40,3\n2232,Fjäll 2,40,0\n"
SHELF = "bin,lot,state\nC4,2231,blocked\nC5,2231,blocked\nC6,2232,free\n"


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that one person did: on which side, who, what."""

    side: str
    who: str
    what: str


async def open_issues(tracker: Tracker) -> int:
    """The tracker's own issues, written by the colleagues there; says how many."""
    await tracker.open_issue(
        "tom", "Lot 2231: torn floor seams", "Three tents came back torn at the same seam. Block the lot, please.",
        priority="urgent", status="in-progress", assignedto="omar", keyword=["warehouse", "damaged"],
    )  # fmt: skip
    await tracker.open_issue(
        "yuki", "Tracking page stays at 'label created'", "The carrier's scans arrive a day late. Log attached.",
        {"scans.log": SCANS}, priority="bug", assignedto="yuki", keyword=["shipping"],
    )  # fmt: skip
    await tracker.open_issue(
        "claire", "Taille des chaussures de trail", "Elles taillent une demi-pointure trop petit.",
        priority="feature",
    )  # fmt: skip
    await tracker.open_issue("omar", "Label printer at dock 4", "It jams on every tenth label.", priority="wish")
    refunds = await tracker.open_issue(
        "sofia", "Refunds above 200 EUR need a second signature", "From Monday on. Is that in the macro already?",
        priority="feature", assignedto="mia",
    )  # fmt: skip
    await tracker.say("mia", refunds, "It is now.", private=True)
    await tracker.change("mia", refunds, status="resolved")
    return 5


async def working_day(helpdesk: Helpdesk, tracker: Tracker) -> AsyncIterator[Deed]:
    """People act on both sides, by the products' own APIs; every deed is told when it is done."""
    for deeds in (_in_the_helpdesk(helpdesk), _in_the_tracker(tracker), _at_the_same_time(helpdesk, tracker)):
        async for deed in deeds:
            yield deed


async def _in_the_helpdesk(helpdesk: Helpdesk) -> AsyncIterator[Deed]:
    tell = _teller("Gorgias")
    order = await helpdesk.ticket("Where is my order")
    await helpdesk.customer_replies(order, "It came this morning, one day before the hike. Thank you all! 🥾")
    yield tell(order["customer"]["name"], "replies once more to “Where is my order …”")
    tent = await helpdesk.ticket("torn seam")
    await helpdesk.note(tent, "Checked the whole lot, see the table.", {"lot-check.csv": CHECK.encode()})
    yield tell("Mia Keller", "adds a note with a file to “Tent arrived with a torn seam”")
    receipt = await helpdesk.ticket("Your Acme receipt")
    await helpdesk.tag(receipt, "VIP")
    await helpdesk.change(receipt, priority="high")
    yield tell("Mia Keller", "tags “Re: Your Acme receipt …” VIP and gives it a high priority")
    await helpdesk.change(await helpdesk.ticket("Retailer price list"), status="closed")
    yield tell("Mia Keller", "closes “Retailer price list & lead times for spring”")
    text = "Hello, do you deliver to Akureyri, and how long does it take?"
    await helpdesk.customer_writes("Do you ship to Iceland?", text, "Freyja Jónsdóttir", "freyja@customer.example")
    yield tell("Freyja Jónsdóttir", "writes for the first time: “Do you ship to Iceland?”")


async def _in_the_tracker(tracker: Tracker) -> AsyncIterator[Deed]:
    tell = _teller("tracker")
    tent = await tracker.issue("torn seam")
    await tracker.say(
        "omar", tent, "Bins C4 and C5 are blocked. Replacement is on the 4 pm truck.", {"bins.csv": SHELF}
    )
    yield tell("Omar Haddad", "answers with a file in “Tent arrived with a torn seam”")
    await tracker.tag("tom", await tracker.issue("wrong address"), add="warehouse", remove="urgent")
    yield tell("Tom Becker", "removes the tag urgent from “URGENT: wrong address …” and adds warehouse")
    await tracker.change("claire", await tracker.issue("jamais"), title="Colis retrouvé chez le voisin")
    yield tell("Claire Dubois", "gives “Colis … jamais reçu” a new subject")
    await tracker.change("yuki", await tracker.issue("imperm"), assignedto="claire", priority="urgent")
    yield tell("Yuki Tanaka", "hands “Question sur l’imperméabilité” to Claire, urgently")
    await tracker.change("omar", await tracker.issue("Label printer"), status="resolved")
    yield tell("Omar Haddad", "resolves “Label printer at dock 4”")
    await tracker.open_issue(
        "tom", "Iceland is missing in the shipping table", "Customers ask.", priority="bug", keyword=["shipping"]
    )
    yield tell("Tom Becker", "opens a new issue: “Iceland is missing in the shipping table”")


async def _at_the_same_time(helpdesk: Helpdesk, tracker: Tracker) -> AsyncIterator[Deed]:
    """A conflict: the later change wins, Gorgias a tie; the loser is kept, see `syncd conflicts`."""
    shoes = await helpdesk.ticket("Schuhe")
    await tracker.change("mia", await tracker.issue("Schuhe"), priority="wish")
    await helpdesk.change(shoes, priority="critical")
    yield _teller("both")("Mia Keller", "changes the priority of “Dringend: Schuhe drücken …” on both sides at once")


def _teller(side: str) -> Callable[[str, str], Deed]:
    return lambda who, what: Deed(side, who, what)
