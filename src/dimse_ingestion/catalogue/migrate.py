"""Migration of the database's schema to this release, when the catalogue starts.

The steps are in `migrations`. All replicas may try at once: the writers' lock lets one of them
migrate, and the others find the schema up to date.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, text

from dimse_ingestion.catalogue.database import database_errors, write_transaction
from dimse_ingestion.failures import Unavailable


def upgrade(engine: Engine) -> None:
    """Bring the schema up to date; do nothing if it is.

    Raises Unavailable when the database can't be reached or changed, or is a newer release's.
    """
    with database_errors(), write_transaction(engine) as connection:
        _check_encoding(connection)
        try:
            command.upgrade(_alembic(connection), "head")
        except CommandError as unknown:
            sentence = "The catalogue's database was made by a newer release: run that one."
            raise Unavailable(sentence) from unknown


def _check_encoding(connection: Connection) -> None:
    if connection.dialect.name != "postgresql":
        return
    encoding = connection.execute(text("SHOW server_encoding")).scalar()
    if encoding != "UTF8":
        raise Unavailable(f"The database's encoding is {encoding}: make one with UTF8.")


def _alembic(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config
