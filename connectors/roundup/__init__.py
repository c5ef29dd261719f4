"""Roundup (2.x), by its REST API: issues and their messages."""

from connectors.roundup.connector import RoundupConnector

__all__ = ["RoundupConnector"]
