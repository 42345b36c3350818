"""Custom resources and Deployments as a cluster has them, for tests without one."""

from typing import Any

from dimse_ingestion.operator.resources import Resource

SPEC = {
    "bucketConfigName": "img-ingest-s3",
    "bucketSecretName": "img-ingest-s3",
    "dicomEventDrivenIngestionName": "core",
    "providerName": "provider",
    "natsUrl": "nats.example.org:4222",
    "natsTokenSecret": "nats-token",
}


def resource(
    spec: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    kind: str = "DimseIngestionService",
) -> Resource:
    return Resource(
        {
            "apiVersion": "imaging-ingestion.alvearie.org/v1alpha1",
            "kind": kind,
            "metadata": {
                "name": "img-ingest",
                "namespace": "imaging",
                "uid": "one",
                "generation": 3,
            },
            "spec": SPEC if spec is None else spec,
            "status": status or {},
        }
    )


def deployment(
    wanted: int = 2, available: int = 2, updated: int | None = None, **status: Any
) -> dict[str, Any]:
    replicas = wanted if updated is None else updated
    return {
        "kind": "Deployment",
        "metadata": {"name": "img-ingest-ingestion", "generation": 4},
        "spec": {"replicas": wanted, "selector": {"matchLabels": {"b": "2", "a": "1"}}},
        "status": {
            "observedGeneration": 4,
            "replicas": wanted,
            "updatedReplicas": replicas,
            "availableReplicas": available,
            **status,
        },
    }
