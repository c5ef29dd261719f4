"""The unified API over a real Redmine: the tests that every product passes at the wire."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from connectors.redmine import RedmineConnector
from syncd.model import Side
from tests.contract.test_unified import (  # noqa: F401 - run here with the client of this module
    test_a_ticket_lives,
    test_capabilities_are_true,
    test_comments_are_private_unless_said_otherwise,
    test_fields_of_a_ticket_are_written,
    test_files_go_up_and_come_down,
    test_lists_are_paged_to_the_end,
    test_teams_and_tags_live_where_they_can,
    test_the_user_directory_has_the_same_people,
    test_tickets_are_filtered,
    test_what_else_there_is,
)
from tests.e2e.servers import redmine
from tests.fakes.redmine_people import config
from tests.unified_desk import Client, api

pytestmark = pytest.mark.timeout(900)


@pytest_asyncio.fixture(scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """The client on a fresh Redmine."""
    with redmine() as server:
        async with RedmineConnector.open(config(server.url, api_key=server.key), Side.REMOTE, "redmine") as account:
            folder = tmp_path_factory.mktemp("unified")
            async with api(folder, {"redmine": account}) as (made, _):
                yield made.of("redmine")
