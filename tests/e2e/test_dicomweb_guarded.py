"""A second DICOMweb service of a space, which requires a token and has a configured address.

It is a release of its own with nothing else in it, in the space's namespace, on the space's bucket
and catalogue. What makes a token a bad one is for the unit tests.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import pod_http
from harness.addons.workload import SecretFiles, Workload
from harness.kubernetes_objects import Namespace
from harness.plugin import Workbench
from harness.pod_http import Answered
from harness.release import Release
from tests.e2e.conftest import Observed
from tests.e2e.keeping import assert_stores, study
from tests.unit.dicomweb.tokens import AUDIENCE, ISSUER, SigningKey, token

EXTERNAL = "https://images.hospital.example/archive"
KEYS = "signing-keys"
_PORT = 8081


@dataclass(frozen=True)
class Gate:
    """The service, and the key that its issuer signs with."""

    release: Release
    key: SigningKey

    def get(self, path: str, bearing: str = "") -> Answered:
        """Return the answer to a GET, with a token if there is one."""
        (pod,) = self.release.pod_names("dicomweb")
        headers = {"Authorization": f"Bearer {bearing}"} if bearing else {}
        return pod_http.get(self.release.namespace, pod, path, port=_PORT, headers=headers)


@pytest.fixture(scope="module")
def gate(module_bench: Workbench, observed: Observed) -> Iterator[Gate]:
    namespace, key = observed.space.namespace, SigningKey("one")
    issuer(namespace, module_bench.platform.image, key)
    release = module_bench.release(Release(namespace, "gate"))
    release.install(values(observed))
    yield Gate(release, key)
    for kind in ("Deployment", "Service", "Secret"):
        namespace.delete(kind, KEYS)


def issuer(namespace: Namespace, image: str, key: SigningKey) -> None:
    """Publish the key, as an identity provider does."""
    namespace.put_secret(KEYS, {"jwks.json": json.dumps({"keys": [key.published()]})})
    serving = Workload(
        name=KEYS,
        image=image,
        user=10001,
        ports={"http": 8080},
        readiness={"httpGet": {"path": "/jwks.json", "port": "http"}},
        command=["python3", "-m", "http.server", "8080", "--directory", "/srv"],
        secrets=[SecretFiles(KEYS, "/srv", {"jwks.json": "jwks.json"})],
    )
    namespace.apply(*serving.objects({}))
    namespace.wait_until_rolled_out(KEYS)


def values(observed: Observed) -> dict[str, Any]:
    """Return the values of the service: those of the space, with DICOMweb alone."""
    settings = {
        "DICOMWEB_AUTH": "bearer",
        "DICOMWEB_JWKS_URL": f"http://{KEYS}:8080/jwks.json",
        "DICOMWEB_TOKEN_ISSUER": ISSUER,
        "DICOMWEB_TOKEN_AUDIENCE": AUDIENCE,
        "DICOMWEB_EXTERNAL_ADDRESS": EXTERNAL,
    }
    return observed.space.values(
        ingestion={"enabled": False},
        dicomweb={"enabled": True, "replicas": 1, "settings": settings},
        dicomEventDrivenIngestionName=observed.space.release.name,
    )


def test_nobody_is_let_in_without_a_token_that_its_issuer_signed(gate: Gate) -> None:
    for bearing in ("", token(SigningKey("one")), token(gate.key, aud="another")):
        answer = gate.get("/dicomweb/studies", bearing)
        assert answer.status == 401, answer
        assert json.loads(answer.text)["detail"]


def test_the_bearer_of_a_token_reads_what_a_proxy_stored_by_the_configured_address(
    gate: Gate, observed: Observed, tmp_path: Path
) -> None:
    uid = study(assert_stores(observed.space, observed.zone.peer, tmp_path)).StudyInstanceUID
    answer = gate.get(f"/dicomweb/studies?StudyInstanceUID={uid}", token(gate.key))
    assert answer.status == 200, answer
    (match,) = json.loads(answer.text)
    assert match["00081190"]["Value"] == [f"{EXTERNAL}/dicomweb/studies/{uid}"]
