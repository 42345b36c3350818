"""The schema is created by the first catalogue that starts, and matches the tables."""

from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, insert, select, text

from dimse_ingestion.catalogue.database import check, open_engine, write_transaction
from dimse_ingestion.catalogue.migrate import _alembic, upgrade
from dimse_ingestion.catalogue.record import record
from dimse_ingestion.catalogue.tables import metadata, objects
from dimse_ingestion.failures import Unavailable
from tests.instances import event


def test_the_steps_make_the_tables_that_are_used(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_replicas_that_start_at_once_make_it_once(database_url: str) -> None:
    engines = [open_engine(database_url) for _ in range(4)]
    with ThreadPoolExecutor(4) as executor:
        list(executor.map(upgrade, engines))
    assert record(engines[0], [event("a")], "latest") == ["new"]
    for engine in engines:
        check(engine)
        engine.dispose()


def test_upgrading_again_changes_no_rows(engine: Engine) -> None:
    record(engine, [event("a")], "latest")
    upgrade(engine)
    assert record(engine, [event("a")], "latest") == ["known"]


def test_a_newer_releases_database_is_left_alone(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Unavailable, match="newer release"):
        upgrade(engine)


def test_a_database_never_migrated_says_so(database_url: str) -> None:
    engine = open_engine(database_url)
    for use in (lambda: check(engine), lambda: record(engine, [event("a")], "latest")):
        with pytest.raises(Unavailable, match="never migrated") as failure:
            use()
        assert failure.value.transient
    engine.dispose()


ADDED = ("calling_ae_title", "called_ae_title", "proxy_id", "peer_address", "received_at")
ROWS = 2000


def former_row(number: int) -> dict[str, object]:
    """Return a row of `objects` as a catalogue of the first schema inserts it."""
    values: dict[str, object] = {each.name: "x" for each in objects.c if each.name not in ADDED}
    del values["id"]
    numbers = {"size": number, "header_size": 352, "elements": b"j[]"}
    return values | numbers | {"object_name": f"instances/{number}"}


def of_first_schema(engine: Engine) -> None:
    with write_transaction(engine) as connection:
        command.upgrade(_alembic(connection), "0001")
        connection.execute(insert(objects), [former_row(number) for number in range(ROWS)])


def files_of_table(connection: Connection) -> object:
    """Return which file has the rows: another one after a table was rewritten."""
    if connection.dialect.name == "postgresql":
        return connection.execute(text("SELECT pg_relation_filenode('objects')")).scalar()
    root = text("SELECT rootpage FROM sqlite_master WHERE name = 'objects'")
    return connection.execute(root).scalar()


def test_rows_of_the_first_schema_stay_where_they_are(database_url: str) -> None:
    engine = open_engine(database_url)
    of_first_schema(engine)
    with engine.connect() as connection:
        before = files_of_table(connection)
    upgrade(engine)
    with engine.connect() as connection:
        assert files_of_table(connection) == before
        columns = [objects.c[name] for name in ADDED]
        assert set(connection.execute(select(*columns))) == {("",) * len(ADDED)}
    # a replica of the former release goes on inserting while another has migrated
    with write_transaction(engine) as connection:
        connection.execute(insert(objects), [former_row(ROWS)])
    engine.dispose()


def test_a_long_query_delays_others_briefly_and_the_migration_waits_for_it(
    request: pytest.FixtureRequest,
) -> None:
    server = request.getfixturevalue("server")
    engine = open_engine(server.make_database("catalogue_locked"))
    of_first_schema(engine)
    read = text("SELECT count(*) FROM objects")
    migration = Thread(target=upgrade, args=(engine,))
    with engine.connect() as long_query:
        long_query.execute(read)
        migration.start()
        with engine.connect() as another:
            # it may wait behind the migration, but not until the long query ends
            another.execute(text("SET statement_timeout = 5000"))
            for _ in range(3):
                another.execute(read)
                another.commit()
        assert migration.is_alive()
    migration.join(30)
    check(engine)
    with engine.connect() as connection:
        connection.execute(select(objects.c.peer_address))
    engine.dispose()
