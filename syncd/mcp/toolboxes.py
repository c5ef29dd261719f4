"""All tools of one workspace: the operations of its Gorgias account, and the common jobs."""

from syncd.mcp import desk, operating
from syncd.mcp.backend import Backend
from syncd.mcp.files import Files
from syncd.mcp.tools import Toolbox
from syncd.model import Side
from syncd.operations import Operations
from syncd.registry import connector_class


def toolbox(backend: Backend, files: Files) -> Toolbox:
    """The tools of a workspace; nothing is opened before one is called."""
    connector = connector_class("gorgias")
    found = [*desk.tools_of(backend)]
    if issubclass(connector, Operations):
        found += operating.tools_of(connector, lambda: backend.account(Side.GORGIAS), files)
    return Toolbox(found)
