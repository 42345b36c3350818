"""`helm install` of one storage space, `helm test` of it, and what `helm uninstall` leaves."""

from tests.e2e.conftest import Observed


def test_every_pod_becomes_ready_without_a_restart(observed: Observed) -> None:
    release = observed.space.release
    pods = [*release.pods("ingestion"), *release.pods("catalogue")]
    assert len(pods) == 3
    for pod in pods:
        (container,) = pod["status"]["containerStatuses"]
        assert (container["ready"], container["restartCount"]) == (True, 0), container


def test_helm_test_stores_and_finds_an_instance(observed: Observed) -> None:
    said = observed.space.release.tested()
    for verb in ("C-ECHO", "C-STORE", "C-FIND"):
        assert verb in said, said
