"""Redmine 5: issues of one project as tickets, over its REST API. `docs/connectors/redmine.md` names its traps."""

from connectors.redmine.connector import RedmineConnector

__all__ = ["RedmineConnector"]
