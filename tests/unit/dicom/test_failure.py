import pytest

from dimse_ingestion.dicom.failure import DimseFailure
from dimse_ingestion.dicom.status import Status


@pytest.mark.parametrize(
    ("comment", "wanted"),
    [
        ("Bucket images is full. (https://s3:9000)", "Bucket images is full."),
        ("The bucket schl\xe4ft.", "The bucket schl?ft."),
        ("A\\B is one value.", "A/B is one value."),
        ("x" * 80, "x" * 64),
        (
            "The event sink refuses the event with HTTP 400 (http://catalogue.ns.svc:8080/events).",
            "The event sink refuses the event with HTTP 400.",
        ),
        (
            "The catalogue gave no answer in 30 s (http://10.0.0.7:8082).",
            "The catalogue gave no answer in 30 s.",
        ),
        ("[Errno 13] Permission denied: '/etc/dimse/nats.creds'", "[Errno 13] Permission denied:"),
    ],
)
def test_an_error_comment_is_short_ascii_without_addresses(comment: str, wanted: str) -> None:
    failure = DimseFailure(Status.OUT_OF_RESOURCES, comment)
    assert failure.error_comment == wanted
    assert str(failure) == f"A700H {comment}"
