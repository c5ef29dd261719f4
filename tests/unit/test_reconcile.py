"""`syncd reconcile` in a process of its own: what it finds, and that it writes to neither side."""

from copy import deepcopy

import pytest

from tests.processes.shop import Shop


def issue(shop: Shop, subject: str) -> int:
    """The number of the issue with this subject."""
    return next(number for number, row in shop.redmine.issues.items() if row["subject"] == subject)


async def found(shop: Shop, *more: str) -> list[str]:
    """The sentences of a full compare, which makes no call that writes."""
    before = shop.gorgias.writes() + shop.remote.writes()
    done = await shop.syncd("reconcile", shop.folder / "acme.toml", "--json", *more)
    assert shop.gorgias.writes() + shop.remote.writes() == before
    return sorted(row["sentence"] for row in done.json)


@pytest.mark.promise("P1", "P3")
async def test_everything_that_is_not_as_it_should_be(shop: Shop) -> None:
    """An orphan, a link to nothing, two copies of one ticket, a difference; `--apply` lets the next pass mend them."""
    shop.config()
    lamp, kettle, pump = (shop.sandbox.create_ticket(name, "Help!") for name in ("Lamp", "Kettle", "Pump"))
    spam = shop.sandbox.create_ticket("Win a car", "Click!")
    shop.sandbox.mark_spam(spam)
    await shop.once()
    assert await found(shop) == []
    numbers = {name: issue(shop, name) for name in ("Lamp", "Kettle", "Pump")}
    await shop.people.delete(str(numbers["Lamp"]))
    await shop.people.edit(str(numbers["Kettle"]), "subject", "Teapot")
    shop.redmine.issues[900] = {**deepcopy(shop.redmine.issues[numbers["Pump"]]), "id": 900}
    orphan = shop.sandbox.create_ticket("Toaster", "Black!")
    stored = shop.dump()
    sentences = await found(shop)
    copies = f"Redmine ticket {numbers['Pump']} and Redmine ticket 900"
    pair = f"Gorgias ticket {kettle} = Redmine ticket {numbers['Kettle']}"
    wanted = [
        f"Gorgias ticket {orphan} has no copy in Redmine",
        f"Redmine ticket {numbers['Lamp']} is linked and not listed there: deleted, moved, or out of reach",
        f"{copies} are all copies of Gorgias ticket {pump}: close all but one",
        f"{pair}: subject is 'Kettle' in Gorgias and 'Teapot' at the remote",
    ]
    assert sentences == sorted(wanted)
    assert shop.dump() == stored
    assert await found(shop, "--apply") == sentences
    changed = set(shop.dump(without="sqlite_sequence")) ^ set(stored)
    assert {line.split('"')[1] for line in changed if "sqlite_sequence" not in line} <= {"dirty", "lease"}
    del shop.redmine.issues[900]  # somebody closes all but one
    await shop.once()
    assert await found(shop) == []
    states = {str(row["id"]): row["status"] for row in shop.sandbox.tickets}
    assert states[str(lamp)] == "closed"


@pytest.mark.promise("P35", "P19")
async def test_what_shall_have_no_copy_is_not_missed(shop: Shop) -> None:
    """One-way sync, trash and spam, and a ticket whose copy was deleted: nothing of this is reported."""
    shop.config(sync='direction = "to_remote"')
    lamp, kettle, _ = (shop.sandbox.create_ticket(name, "Help!") for name in ("Lamp", "Kettle", "Pump"))
    await shop.once()
    await shop.people.create("Made at Redmine", "Nobody's copy.")
    await shop.people.delete(str(issue(shop, "Pump")))  # which no feed shows
    assert len(await found(shop, "--apply")) == 1
    await shop.once()
    shop.sandbox.mark_spam(lamp)
    shop.sandbox.trash(kettle)
    assert await found(shop) == []
