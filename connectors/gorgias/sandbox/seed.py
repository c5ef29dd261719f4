"""Realistic tickets of an online shop."""

from connectors.gorgias.sandbox.people import People


def seed(sandbox: People, tickets: int = 50, rng_seed: int = 1) -> None:
    """Fill an account."""
    for number in range(tickets):
        sandbox.create_ticket(f"Order {number + rng_seed}", "Where is my order?")
