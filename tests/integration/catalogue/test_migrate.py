"""The schema is created by the first catalogue that starts, and matches the tables."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text

from dimse_ingestion.catalogue.database import check, open_engine
from dimse_ingestion.catalogue.migrate import upgrade
from dimse_ingestion.catalogue.record import record
from dimse_ingestion.catalogue.tables import metadata
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
