"""Images of real modalities through a proxy outside the cluster: stored, found, and not logged."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from harness import modalities, pod_http, scu
from harness.instances import made_instances
from tests.e2e.conftest import Observed
from tests.e2e.keeping import assert_stored, sop_instance_uid, study
from tests.storable import storable


def one_of_each_transfer_syntax() -> list[Path]:
    smallest: dict[str, Path] = {}
    for path in sorted(storable(), key=lambda each: each.stat().st_size):
        header = dcmread(path, stop_before_pixels=True)
        if header.file_meta.get("MediaStorageSOPInstanceUID") == header.SOPInstanceUID:
            smallest.setdefault(header.file_meta.TransferSyntaxUID, path)
    return list(smallest.values())


def ct_slices() -> list[Path]:
    return [path for path in storable() if path.parent.name == "CT2"]


async def test_echo_goes_all_the_way(observed: Observed) -> None:
    assert scu.echo(observed.zone.peer) == 0
    assert (await modalities.echoscu(observed.zone.peer)).status == 0


def test_every_transfer_syntax_of_pynetdicom_is_stored_byte_for_byte(observed: Observed) -> None:
    files = one_of_each_transfer_syntax()
    assert len(files) >= 10
    answers = scu.store(observed.zone.peer, files)
    assert {answer.path.name: answer.comment for answer in answers if answer.status} == {}
    assert_stored(observed.space, files)


async def test_a_series_of_dcmtk_is_stored_and_found(observed: Observed) -> None:
    files = ct_slices()
    ended = await modalities.storescu(observed.zone.peer, *files, options=("-v",))
    assert ended.status == 0, ended.output
    assert_stored(observed.space, files)
    header = dcmread(files[0], stop_before_pixels=True)
    request = (
        "QueryRetrieveLevel=IMAGE",
        f"StudyInstanceUID={header.StudyInstanceUID}",
        f"SeriesInstanceUID={header.SeriesInstanceUID}",
        "SOPInstanceUID=",
    )
    result = await modalities.findscu(observed.zone.peer, *request)
    assert result.status == 0, result.output
    for path in files:
        assert sop_instance_uid(path) in result.output


def test_a_study_is_found_by_pynetdicom(observed: Observed, tmp_path: Path) -> None:
    (made,) = made_instances(tmp_path / "in", 1, 2**20)
    (answer,) = scu.store(observed.zone.peer, [made.path])
    assert answer.status == 0, answer
    (match,) = scu.find(observed.zone.peer, study(made.path))
    assert match.PatientID == dcmread(made.path, stop_before_pixels=True).PatientID


def test_both_replicas_serve(observed: Observed, tmp_path: Path) -> None:
    before = list(stored_by_replicas(observed))
    assert len(before) == 2
    made = made_instances(tmp_path / "in", 24, 2**10)
    for each in made:
        (answer,) = scu.store(observed.zone.peer, [each.path])
        assert answer.status == 0, answer
    grown = [
        after - early for early, after in zip(before, stored_by_replicas(observed), strict=True)
    ]
    assert sum(grown) == len(made)
    assert all(grown), grown


def stored_by_replicas(observed: Observed) -> Iterator[int]:
    """Return how many instances each replica has stored, in the order of their names."""
    for pod in sorted(observed.space.release.pod_names("ingestion")):
        metrics = pod_http.get(observed.space.namespace, pod, "/metrics").text
        lines = [line for line in metrics.splitlines() if not line.startswith("#")]
        stored = [line for line in lines if line.startswith("dimse_ingestion_stored_total{")]
        yield int(sum(float(line.rpartition(" ")[2]) for line in stored))


@pytest.mark.parametrize("component", ["ingestion", "catalogue", "proxy"])
def test_no_log_reports_a_patient(observed: Observed, component: str) -> None:
    (german,) = [path for path in storable() if path.name == "chrGerm.dcm"]
    assert scu.store(observed.zone.peer, [german])[0].status == 0
    identifier = Dataset()
    identifier.SpecificCharacterSet = "ISO_IR 192"
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.PatientName = "Äneas*"
    assert scu.find(observed.zone.peer, identifier)
    text = logs(observed, component)
    assert "timestamp" in text
    for secret in ("neas", "SCSGERM", "Rüdiger", "R\\u00fcdiger"):
        assert secret not in text


def logs(observed: Observed, component: str) -> str:
    if component == "proxy":
        return "\n".join(observed.zone.proxy.lines())
    release = observed.space.release
    return "\n".join(release.namespace.log(pod) for pod in release.pod_names(component))
