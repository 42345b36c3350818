"""Alembic migrations of the catalogue's schema, a file for each step, run before requests."""
