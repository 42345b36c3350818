"""Who sent an object: AE titles, proxy, peer address and time, as columns of `objects`.

Columns with a constant default are added without rewriting the table, by SQLite as by PostgreSQL
(11 and newer), so the time does not grow with the number of rows. PostgreSQL needs an exclusive
lock for that moment. Queries that arrive while a lock is waited for wait behind it, so it is waited
for briefly, several times.
"""

import time

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_COLUMNS = ("calling_ae_title", "called_ae_title", "proxy_id", "peer_address", "received_at")
_TRIES = 8
_LOCK_TIMEOUT = 500  # milliseconds; all tries end before the writers' own limit of 10 s
_PAUSE = 0.3  # seconds, in which waiting queries run


def upgrade() -> None:
    """Add the columns."""
    if op.get_bind().dialect.name == "postgresql":
        _lock_objects(op.get_bind())
    for name in _COLUMNS:
        op.add_column(
            "objects", sa.Column(name, _TEXT, nullable=False, server_default=sa.text("''"))
        )


def downgrade() -> None:
    """Drop the columns."""
    for name in _COLUMNS:
        op.drop_column("objects", name)


def _lock_objects(connection: sa.Connection) -> None:
    """Take the lock that adding a column needs. Raises OperationalError while queries hold it."""
    connection.execute(sa.text(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT}"))
    for attempt in range(1, _TRIES + 1):
        try:
            with connection.begin_nested():
                connection.execute(sa.text("LOCK TABLE objects IN ACCESS EXCLUSIVE MODE"))
        except sa.exc.OperationalError:
            if attempt == _TRIES:
                raise
            time.sleep(_PAUSE)
        else:
            return
