"""All shelves of an account: what makes it a `syncd.directory.Directory`."""

from collections.abc import Mapping
from typing import Any

from connectors.gorgias import people
from connectors.gorgias.account import Account
from connectors.gorgias.client import Client
from connectors.gorgias.config import GorgiasConfig
from connectors.gorgias.conversation import Attachments, Comments
from connectors.gorgias.shelves import Place
from connectors.gorgias.tickets import Tickets
from syncd.directory import Shelf


class Library:
    """For a connector with operations and a client."""

    client: Client
    config: GorgiasConfig
    _account: Account

    def shelves(self: Any) -> Mapping[str, Shelf]:
        """By resource."""
        place = Place(self, self.client, self._account, self.config.url)
        return {
            "tickets": Tickets("tickets", place),
            "comments": Comments(place, self.answer_to),
            "attachments": Attachments(place, self),
            "contacts": people.Contacts("contacts", place),
            "users": people.Users("users", place),
            "user-directory/users": people.DirectoryUsers("user-directory/users", place),
            "teams": people.Teams(place),
            "tags": people.Tags("tags", place),
            "collections": people.Collections("collections", place),
            "fields": people.Fields(place),
        }
