"""`helm install` of one storage space, `helm test` of it, and what `helm uninstall` leaves."""

from itertools import chain

from tests.e2e.conftest import Observed


def test_every_pod_becomes_ready_without_a_restart(observed: Observed) -> None:
    release = observed.space.release
    pods = {each: release.pods(each) for each in ("ingestion", "catalogue", "dicomweb")}
    assert [len(each) for each in pods.values()] == [2, 1, 2]
    for pod in chain(*pods.values()):
        (container,) = pod["status"]["containerStatuses"]
        assert (container["ready"], container["restartCount"]) == (True, 0), container


def test_helm_test_stores_and_finds_an_instance(observed: Observed) -> None:
    message = observed.space.release.run_tests()
    for verb in ("C-ECHO", "C-STORE", "C-FIND"):
        assert verb in message, message
