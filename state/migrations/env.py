"""Alembic's entry: migrates the connection it is handed, and knows the tables for `alembic revision --autogenerate`."""

from alembic import context
from sqlmodel import SQLModel

import state.tables  # noqa: F401 - fills the metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
)
context.run_migrations()
