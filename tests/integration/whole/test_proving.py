"""`dimse-ingestion prove`: the deed done once, by an own proxy or by one that runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

from pydicom import dcmread

from harness.ports import free_port
from tests.integration.whole.conftest import System


def proved(system: System, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **system.proxy.environment}
    return subprocess.run(
        [sys.executable, "-m", "dimse_ingestion", "prove", *arguments],
        env=environment | {"DIMSE_PROXY_ID": "prover"} | changed,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def lines_of(ended: subprocess.CompletedProcess[str]) -> list[str]:
    return [re.sub(r"\s+", " ", line) for line in ended.stdout.splitlines()]


def test_an_own_proxy_stores_and_finds_an_instance(shared: System) -> None:
    known = set(shared.objects())
    ended = proved(shared, DIMSE_SOURCE_NETWORKS="10.0.0.0/8", DIMSE_CALLING_AE_TITLES="CT1")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [line.split(":")[0] for line in lines_of(ended)] == [
        *("ok proxy", "ok C-ECHO", "ok C-STORE", "ok C-FIND at STUDY", "ok C-FIND at IMAGE")
    ]
    (digest,) = set(shared.objects()) - known
    made = dcmread(shared.objects()[digest])
    assert made.SOPInstanceUID.startswith("2.25.")
    assert (made.PatientID, made.PatientName) == ("DIMSE-INGESTION-TEST", "TEST^DIMSE-INGESTION")
    assert made.SOPInstanceUID in ended.stdout


def test_each_run_has_new_uids_and_a_file_may_configure_it(shared: System, tmp_path: Path) -> None:
    known = set(shared.objects())
    file = tmp_path / "proxy.yaml"
    file.write_text("aeTitle: OTHER\ncallingAeTitles: [CT1]\n")
    for _ in range(2):
        assert proved(shared, "--config", str(file)).returncode == 0
    assert len(set(shared.objects()) - known) == 2


def test_a_proxy_that_runs_is_proved_without_any_setting(shared: System) -> None:
    to = f"127.0.0.1:{shared.space.dimse_port}"
    ended = proved(shared, "--to", to, "--called", "DICOM-INGEST", DIMSE_NATS_URL="")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert len(lines_of(ended)) == 4


def test_what_is_wrong_is_reported(shared: System) -> None:
    to = f"127.0.0.1:{shared.space.dimse_port}"
    for arguments, changed, output in (
        (("--wait", "1"), {"DIMSE_NATS_URL": f"127.0.0.1:{free_port()}"}, "wrong nats: NATS at"),
        (("--wait", "6"), {"DIMSE_NATS_SUBJECT_ROOT": "NOBODY"}, "wrong path: No"),
        ((), {"DIMSE_NATS_URL": ""}, "wrong settings: DIMSE_NATS_URL is not set"),
        (("--to", to, "--called", "OTHER"), {}, "Called AE title not recognised"),
        (("--to", f"127.0.0.1:{free_port()}"), {}, "is not reached"),
    ):
        ended = proved(shared, *arguments, **changed)
        assert ended.returncode == 1, ended.stdout + ended.stderr
        assert output in "\n".join(lines_of(ended)), ended.stdout
        assert "Traceback" not in ended.stderr


def test_an_address_that_is_none_is_a_mistake(shared: System) -> None:
    ended = proved(shared, "--to", "nowhere")
    assert (ended.returncode, ended.stderr.strip()) == (
        2,
        "--to nowhere: give host:port, as in 10.1.2.3:11112.",
    )
