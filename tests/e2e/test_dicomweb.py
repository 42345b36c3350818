"""DICOMweb from outside, through the chart's Service, on the space that a proxy stores into.

The space is installed as the chart has it by default, but for a Service that leads out. What each
address answers in full is for tests/integration/dicomweb; here it is that the way is whole.
"""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from harness import scu
from harness.cluster import Cluster
from harness.instances import data_set_in
from harness.reading import NODE_PORT, Viewer, Wanted
from tests.e2e.conftest import Observed
from tests.e2e.keeping import assert_stored, study
from tests.storable import storable

AS_STORED = "application/dicom; transfer-syntax=*"
JSON = "application/dicom+json"
ANY_SYNTAX = (("application/dicom", "*"),)


@dataclass(frozen=True)
class Sent:
    """An image of its own UIDs, and what was sent of it."""

    path: Path

    @property
    def data_set(self) -> Dataset:
        return dcmread(self.path)

    @property
    def uids(self) -> tuple[str, str, str]:
        sent = self.data_set
        return str(sent.StudyInstanceUID), str(sent.SeriesInstanceUID), str(sent.SOPInstanceUID)

    @property
    def below(self) -> str:
        """Where it is had, below the services."""
        return "/studies/{}/series/{}/instances/{}".format(*self.uids)


def copied(name: str, folder: Path) -> Sent:
    """Return one of pydicom's images under UIDs that no other test uses."""
    (result,) = [path for path in storable() if path.name == name]
    image = dcmread(result)
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    path = folder / f"{image.SOPInstanceUID}.dcm"
    image.save_as(path)
    return Sent(path)


@pytest.fixture(scope="module")
def viewer(observed: Observed, cluster: Cluster) -> Viewer:
    host, port = cluster.outside(NODE_PORT)
    return Viewer(f"http://{host}:{port}/dicomweb")


def sent_by_dimse(observed: Observed, name: str, folder: Path) -> Sent:
    sent = copied(name, folder)
    (answer,) = scu.store(observed.zone.peer, [sent.path])
    assert answer.status == 0, answer
    return sent


@pytest.fixture(scope="module")
def by_dimse(observed: Observed, tmp_path_factory: pytest.TempPathFactory) -> Sent:
    """Store ten frames by C-STORE."""
    return sent_by_dimse(observed, "emri_small.dcm", tmp_path_factory.mktemp("by_dimse"))


@pytest.mark.parametrize("name", ["CT_small.dcm", "JPEG2000.dcm", "rtplan.dcm"])
def test_what_a_proxy_stored_is_found_and_read_byte_for_byte(
    observed: Observed, viewer: Viewer, tmp_path: Path, name: str
) -> None:
    sent = sent_by_dimse(observed, name, tmp_path)
    request = {"StudyInstanceUID": sent.uids[0]}
    (result,) = viewer.client.search_for_instances(search_filters=request)
    assert Dataset.from_json(result).SOPInstanceUID == sent.uids[2]
    answer = viewer.got(Wanted(sent.below, AS_STORED))
    assert data_set_in(answer.content) == data_set_in(sent.path.read_bytes())
    read = viewer.client.retrieve_instance(*sent.uids, media_types=ANY_SYNTAX)
    assert read == sent.data_set


def test_its_metadata_is_returned(viewer: Viewer, by_dimse: Sent) -> None:
    (output,) = viewer.client.retrieve_study_metadata(by_dimse.uids[0])
    metadata, sent = Dataset.from_json(output, lambda _: None), by_dimse.data_set
    for keyword in ("PatientID", "StudyInstanceUID", "SOPInstanceUID", "Rows", "Columns"):
        assert metadata[keyword].value == sent[keyword].value


def test_its_frames_are_its_pixels(viewer: Viewer, by_dimse: Sent) -> None:
    first, *_, last = by_dimse.data_set.pixel_array
    read = viewer.client.retrieve_instance_frames(*by_dimse.uids, [1, 10])
    assert read == [first.tobytes(), last.tobytes()]


def test_it_is_shown_as_a_picture(viewer: Viewer, by_dimse: Sent) -> None:
    shown = viewer.client.retrieve_instance_rendered(*by_dimse.uids, media_types=("image/png",))
    picture = Image.open(BytesIO(shown))
    assert picture.size == (by_dimse.data_set.Columns, by_dimse.data_set.Rows)
    thumbnail = viewer.got(Wanted(f"{by_dimse.below}/thumbnail", "image/jpeg"))
    assert max(Image.open(BytesIO(thumbnail.content)).size) <= 200


def test_what_a_client_stores_is_found_by_dimse_and_retrieved_again(
    observed: Observed, viewer: Viewer, tmp_path: Path
) -> None:
    sent = copied("CT_small.dcm", tmp_path)
    stored = viewer.client.store_instances([sent.data_set])
    (referenced,) = stored.ReferencedSOPSequence
    assert referenced.ReferencedSOPInstanceUID == sent.uids[2]
    assert "FailedSOPSequence" not in stored
    assert_stored(observed.space, [sent.path])
    (match,) = scu.find(observed.zone.peer, study(sent.path))
    assert match.PatientID == sent.data_set.PatientID
    assert viewer.client.retrieve_instance(*sent.uids) == sent.data_set


def test_addresses_in_answers_are_as_the_reader_came(viewer: Viewer, by_dimse: Sent) -> None:
    # not by dicomweb-client, which leaves the port out of Host
    request = Wanted(f"/instances?StudyInstanceUID={by_dimse.uids[0]}", JSON)
    (result,) = viewer.got(request).json()
    assert Dataset.from_json(result).RetrieveURL == viewer.base + by_dimse.below
    (output,) = viewer.got(Wanted(f"{by_dimse.below}/metadata", JSON)).json()
    pixels = output["7FE00010"]["BulkDataURI"]
    assert pixels.startswith(viewer.base + by_dimse.below)
    assert viewer.client.retrieve_bulkdata(pixels) == [by_dimse.data_set.PixelData]


_READ_IN_A_POD = """
import os, sys, urllib.request
address = os.environ["WADO_INTERNAL_ENDPOINT"] + sys.argv[1]
asking = urllib.request.Request(address, headers={"accept": sys.argv[2]})
with urllib.request.urlopen(asking, timeout=20) as answer:
    print(answer.headers["content-type"], len(answer.read()))
"""


def test_the_address_reported_with_each_instance_leads_to_it_within_the_cluster(
    observed: Observed, viewer: Viewer, by_dimse: Sent
) -> None:
    (pod, *_) = observed.space.release.pod_names("ingestion")
    command = ["python3", "-c", _READ_IN_A_POD, by_dimse.below, AS_STORED]
    message = observed.space.namespace.execute(pod, command).split()
    whole = viewer.got(Wanted(by_dimse.below, AS_STORED)).content
    assert (message[0].rstrip(";"), int(message[-1])) == ("application/dicom", len(whole))


def test_a_rolling_restart_fails_no_reader(
    observed: Observed, viewer: Viewer, by_dimse: Sent
) -> None:
    release = observed.space.release
    before = set(release.pod_names("dicomweb"))
    wanted = [
        Wanted(by_dimse.below, AS_STORED),
        Wanted(f"/instances?StudyInstanceUID={by_dimse.uids[0]}", JSON),
        Wanted(f"{by_dimse.below}/metadata", JSON),
        Wanted(f"{by_dimse.below}/frames/1", "application/octet-stream"),
        Wanted(f"{by_dimse.below}/rendered", "image/png"),
    ]
    with viewer.reading(wanted) as reading:
        release.restart("dicomweb")
        reading.goes_on()
    assert len(before) == 2
    assert before.isdisjoint(release.pod_names("dicomweb"))
    assert reading.failed == []


def test_no_log_reports_a_patient_who_was_sought(
    observed: Observed, viewer: Viewer, tmp_path: Path
) -> None:
    sent = copied("chrGerm.dcm", tmp_path)
    viewer.client.store_instances([sent.data_set])
    request = {"PatientName": "Äneas*", "StudyInstanceUID": sent.uids[0]}
    (result,) = viewer.client.search_for_studies(search_filters=request)
    assert str(Dataset.from_json(result).PatientName) == "Äneas^Rüdiger"
    release = observed.space.release
    text = "\n".join(release.namespace.log(pod) for pod in release.pod_names("dicomweb"))
    assert "timestamp" in text
    for secret in ("neas", "%C3%84", "SCSGERM", "Rüdiger", "R\\u00fcdiger"):
        assert secret not in text
