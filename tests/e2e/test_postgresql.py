"""The catalogue in PostgreSQL: two replicas that are replaced while modalities send and ask."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness import scu
from harness.addons.postgresql import PostgresqlAddon
from harness.imaging_zone import ImagingZone
from harness.load import sending
from harness.plugin import Workbench
from harness.provisioning import Space
from tests.e2e.keeping import assert_stored, assert_stores, sop_instance_uid, study

SECRET = "catalogue-database"


@dataclass(frozen=True)
class Catalogued:
    """A space whose catalogue is the database `name`, and its proxy."""

    space: Space
    zone: ImagingZone
    name: str


@pytest.fixture(scope="module")
def catalogued_uids(module_bench: Workbench, database: PostgresqlAddon) -> Iterator[Catalogued]:
    space = module_bench.space(
        "archive",
        module_bench.namespace("archive"),
        replicas=1,
        catalogue={"database": {"secretName": SECRET}, "replicas": 2},
    )
    name = space.bucket.replace("-", "_")
    space.namespace.put_secret(SECRET, {"DATABASE_URL": database.database(name)})
    space.install()
    yield Catalogued(space, module_bench.zone(space).open(), name)
    space.release.uninstall()
    database.drop_database(name)


def test_what_is_stored_stands_in_the_database_and_is_found(
    catalogued_uids: Catalogued, database: PostgresqlAddon, tmp_path: Path
) -> None:
    path = assert_stores(catalogued_uids.space, catalogued_uids.zone.peer, tmp_path)
    rows = database.query("SELECT sop_instance_uid FROM instances", catalogued_uids.name)
    assert sop_instance_uid(path) in rows.splitlines()
    assert len(scu.find(catalogued_uids.zone.peer, study(path))) == 1


def test_no_volume_is_claimed(catalogued_uids: Catalogued) -> None:
    assert catalogued_uids.space.namespace.list_objects("PersistentVolumeClaim") == []
    assert len(catalogued_uids.space.release.pods("catalogue")) == 2


def test_a_rolling_restart_of_the_catalogue_fails_no_operation(
    catalogued_uids: Catalogued, tmp_path: Path
) -> None:
    before = set(catalogued_uids.space.release.pod_names("catalogue"))
    with sending(catalogued_uids.zone.peer, tmp_path) as load:
        catalogued_uids.space.release.restart("catalogue")
        load.goes_on()
    assert before.isdisjoint(catalogued_uids.space.release.pod_names("catalogue"))
    assert load.failed == []
    assert_stored(catalogued_uids.space, load.succeeded)


def test_a_database_that_stops_and_starts_under_load_loses_nothing(
    catalogued_uids: Catalogued, database: PostgresqlAddon, tmp_path: Path
) -> None:
    with sending(catalogued_uids.zone.peer, tmp_path) as load:
        database.stop()
        database.start()
        load.goes_on()
    assert load.failed == []
    assert_stored(catalogued_uids.space, load.succeeded)
