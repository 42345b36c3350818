import pytest

from dimse_ingestion.failures import Failure, Refused, Unavailable, redact


@pytest.mark.parametrize(
    ("comment", "wanted"),
    [
        (
            "The event sink refuses the event with HTTP 400 (http://catalogue.ns.svc:8080/events).",
            "The event sink refuses the event with HTTP 400.",
        ),
        (
            "Bucket images is full. (https://s3:9000)",
            "Bucket images is full.",
        ),
        ("NATS at nats://10.0.0.7:4222 did not answer in time.", "NATS did not answer in time."),
        (
            "The folder is full: look below /var/lib/bucket.",
            "The folder is full: look.",
        ),
        ("connect to 10.1.2.3:9000 failed", "connect failed"),
        ("lookup minio.imaging.svc:9000 failed", "lookup failed"),
        ("no responders for DIMSE.v1.svc.store here", "no responders here"),
        (
            "The catalogue gave no answer in 30 s (http://10.0.0.7:8082).",
            "The catalogue gave no answer in 30 s.",
        ),
        ("No bucket https://minio.svc/bucket?x=1 there", "No bucket there"),
        ("[Errno 13] Permission denied: '/etc/dimse/nats.creds'", "[Errno 13] Permission denied:"),
    ],
)
def test_a_public_comment_has_no_address_of_the_inside(comment: str, wanted: str) -> None:
    failure = Failure(comment)
    assert failure.public_comment == wanted
    assert str(failure) == comment


@pytest.mark.parametrize(
    "sentence",
    [
        "SOP Class UID (0008,0016) is not the command's.",
        "Key (0020,000D) is no value or range of VR UI.",
        "Only 1.2.840.10008.1.1 and/or 1.2.3.4.5 at 10:30: send again later.",
        "The item of 7FE00010 (DICOMWEB_MAXIMUM_BODY) is longer than it says.",
        "The media type application/dicom+json; transfer-syntax=1.2.840.10008.1.2 is not offered.",
        "",
    ],
)
def test_other_sentences_stay_as_they_are(sentence: str) -> None:
    assert redact(sentence) == sentence


def test_unavailable_is_transient_and_refused_only_if_marked() -> None:
    assert Unavailable("It is down.").transient
    assert not Refused("It says no.").transient
    assert Refused("It says no for now.", transient=True).transient
