import pytest

from dimse_ingestion.settings.unknown_variables import known_variables, unknown_variables


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("DIMSE_AETITLE", "DIMSE_AE"),
        ("DIMSE_NATS_TOKEN", "DIMSE_NATS_AUTH_TOKEN"),
        ("DIMSE_SPOOL_DIR", "DIMSE_SPOOL_DIRECTORY"),
        ("PROVIDERNAME", "PROVIDER_NAME"),
        ("K_SINKS", "K_SINK"),
        ("DATABASE_URI", "DATABASE_URL"),
    ],
)
def test_the_nearest_setting_is_suggested(variable: str, meant: str) -> None:
    assert list(unknown_variables({variable: "x"})) == [
        f"{variable} is not a setting: did you mean {meant}?"
    ]


def test_one_that_is_like_none_is_reported_too() -> None:
    assert list(unknown_variables({"DIMSE_QQQQQQQQQQ": "x"})) == [
        "DIMSE_QQQQQQQQQQ is not a setting: docs/operating.md lists them."
    ]


def test_settings_of_every_service_and_their_other_names_are_known() -> None:
    known = known_variables()
    assert {"DIMSE_AE", "DIMSE_AE_TITLE", "K_SINK", "DICOMWEB_AUTH", "DATABASE_URL"} <= set(known)
    assert known["DIMSE_AE_TITLE"] == "DIMSE_AE"
    assert not list(unknown_variables(dict.fromkeys(known, "x")))


@pytest.mark.parametrize(
    "variable",
    [
        *("DIMSE_INGESTION_CATALOGUE_SERVICE_HOST", "DIMSE_PROXY_SERVICE_PORT"),
        *("DIMSE_PROXY_PORT_104_TCP_ADDR", "DIMSE_PROXY_SERVICE_PORT_DICOM", "DIMSE_WEB_PORT"),
        *("K_SERVICE", "K_REVISION", "K_CE_OVERRIDES", "EVENTS", "PATH", "DATABASE_HOST_IP"),
        *("QUERY_STRING", "BUCKET_NAME", "KUBECONFIG"),
    ],
)
def test_what_others_set_is_left_alone(variable: str) -> None:
    assert not list(unknown_variables({variable: "x"}))
