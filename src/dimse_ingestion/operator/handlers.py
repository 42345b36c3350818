"""What kopf watches, and which worker each event wakes: nothing is done here.

Only its raw events are used. Its handlers of creation and change keep their progress in
annotations of the user's resources, and see edges of the resource alone; here a look
(`reconciling`) is the same for every cause, and an edited Deployment or a Secret that appears are
causes as good as the spec.
"""

import asyncio
from typing import Any

import kopf

from dimse_ingestion.observability.logging import logger
from dimse_ingestion.operator.kinds import GROUP, KINDS, VERSION
from dimse_ingestion.operator.reconcile import Reconciler
from dimse_ingestion.operator.resources import (
    CHART_NAME,
    MANAGER,
    NAME_LABEL,
    Resource,
    owner_of,
)
from dimse_ingestion.operator.workers import Workers
from dimse_ingestion.settings import OperatorSettings

_LOG = logger(__name__)
_MADE = (
    ("", "services"),
    ("", "serviceaccounts"),
    ("", "persistentvolumeclaims"),
    ("apps", "deployments"),
    ("networking.k8s.io", "networkpolicies"),
    ("networking.k8s.io", "ingresses"),
    ("policy", "poddisruptionbudgets"),
    ("autoscaling", "horizontalpodautoscalers"),
    ("monitoring.coreos.com", "servicemonitors"),
    ("monitoring.coreos.com", "prometheusrules"),
)
"""Watched by the chart's label, so that a catalogue which Helm installed is seen, too."""
_NAMED = (("", "configmaps"), ("", "secrets"))
_KINDS_OF = {
    "configmaps": "ConfigMap",
    "persistentvolumeclaims": "PersistentVolumeClaim",
    "secrets": "Secret",
    "services": "Service",
}
"""Of what may be named by a resource."""


class Handlers:
    """The handlers, which know the resources and wake the workers; at the end they set `stop`."""

    def __init__(self, reconciler: Reconciler, workers: Workers, stop: asyncio.Event) -> None:
        self._reconciler = reconciler
        self._workers = workers
        self._stop = stop

    def registry(self) -> kopf.OperatorRegistry:
        """All of them, as kopf takes them."""
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(_login)
        kopf.on.cleanup(registry=registry)(self.close)
        for kind in KINDS:
            # by version: else kopf sees of a group those kinds alone that have its newest
            kopf.on.event(GROUP, VERSION, kind.plural, registry=registry)(self.resource_seen)
        for group, plural in (*_MADE, *_NAMED):
            kopf.on.event(group, plural, registry=registry)(self.object_seen)
        return registry

    async def resource_seen(self, body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002
        """A custom resource is there, has changed or is gone."""
        resource = Resource(dict(body))
        key, known = resource.key, self._reconciler.known
        if type == "DELETED":
            self._workers.forget(key)
            self._reconciler.forget(key)
            return
        before, known[key] = known.get(key), resource
        if before is None or _differ(before, resource):
            self._workers.wake(key)

    async def object_seen(
        self,
        body: kopf.Body,
        resource: kopf.Resource,
        type: str | None,  # noqa: A002
        **_: Any,
    ) -> None:
        """An object is there, has changed or is gone: made for a resource, or named by some."""
        self._reconciler.hearing.heard(dict(body), gone=type == "DELETED")
        metadata = body.metadata
        namespace, name = metadata.namespace or "", metadata.name or ""
        owner = owner_of(metadata.labels, namespace)
        if owner in self._reconciler.known:
            self._workers.wake(owner)
        kind = _KINDS_OF.get(resource.plural, "")
        for key in self._reconciler.naming(kind, namespace, name):
            self._workers.wake(key)

    async def close(self, **_: Any) -> None:
        """The operator ends."""
        await self._workers.close()
        self._stop.set()  # else kopf waits for whoever waits for it


def _login(**known: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_service_account(**known) or kopf.login_via_client(**known)


def settings_of(settings: OperatorSettings) -> kopf.OperatorSettings:
    """How kopf watches: by the server's filters, and with an end to every silence."""
    told = kopf.OperatorSettings()
    for group, plural in _MADE:
        told.watching.label_selectors[group, plural] = f"{NAME_LABEL}={CHART_NAME}"
    # the releases of Helm are Secrets of up to a megabyte, and name nothing
    told.watching.field_selectors["", "secrets"] = "type!=helm.sh/release.v1"
    told.watching.server_timeout = 240
    told.watching.client_timeout = 300
    told.watching.connect_timeout = 10
    told.watching.chunk_size = 500
    told.networking.request_timeout = 30
    told.networking.connect_timeout = 10
    told.scanning.disabled = bool(settings.namespaces)
    told.posting.reporting_component = MANAGER
    told.posting.reporting_instance = settings.identity
    told.posting.event_name_prefix = f"{MANAGER}-"
    told.process.ultimate_exiting_timeout = 30
    return told


def tell(resource: Resource, kind: str, reason: str, message: str) -> None:
    """Post an Event about a resource; called by a worker, which a handler has started."""
    kopf.event(
        kopf.Body(resource.body),  # type: ignore[arg-type]
        type=kind,
        reason=reason,
        message=message,
    )


def _differ(before: Resource, after: Resource) -> bool:
    """Whether more than the status has changed, which the operator itself writes."""
    return (before.metadata["uid"], before.generation, before.goes) != (
        after.metadata["uid"],
        after.generation,
        after.goes,
    )
