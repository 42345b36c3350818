"""What pods say of themselves while something they need is missing or wrong."""

from functools import partial

from harness import pod_http
from harness.provisioning import Space
from harness.services import eventually

MOUNTED_WITHIN = 150.0
"""Seconds that a kubelet as Kubernetes ships it may take to show a changed Secret to a pod."""


def says(space: Space, check: str, sentence: str) -> None:
    """Wait until /readyz of the ingestion service has this for a check, and then in its log."""
    (pod,) = space.release.pod_names("ingestion")

    def readiness() -> str:
        answer = pod_http.get(space.namespace, pod, "/readyz")
        return answer.text if answer.status == 503 else ""

    eventually(readiness, lambda text: f"{check}: {sentence}" in text, MOUNTED_WITHIN)
    eventually(lambda: space.namespace.log(pod), lambda log: sentence in log)


def running(space: Space) -> None:
    """Wait until the ingestion service's only pod runs, ready or not."""
    eventually(lambda: _phases(space), lambda seen: seen == ["Running"], MOUNTED_WITHIN)


def eventually_mounted(space: Space, path: str, content: str, component: str = "ingestion") -> None:
    """Wait until every replica of a component could read this."""
    for pod in space.release.pod_names(component):
        eventually(
            partial(space.namespace.execute, pod, ["cat", path]),
            lambda seen: seen == content,
            MOUNTED_WITHIN,
        )


def restarts(space: Space) -> list[int]:
    """Return how often each container of the ingestion service was restarted."""
    pods = space.release.pods("ingestion")
    containers = [each for pod in pods for each in pod["status"]["containerStatuses"]]
    return [int(each["restartCount"]) for each in containers]


def _phases(space: Space) -> list[str]:
    return [str(pod["status"]["phase"]) for pod in space.release.pods("ingestion")]
