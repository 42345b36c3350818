"""kopf's event handlers, which wake the worker of each resource that an event concerns.

Nothing is reconciled here. Only kopf's raw events are used: its handlers of creation and change
keep their progress in annotations of the user's resources, and see changes of the resource alone.
Here a reconciliation (`reconcile`) is the same for every cause, and an edited Deployment or a
Secret that appears causes one as a changed spec does.
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
_RELEASE_KINDS = (
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
"""Watched by the chart's label, so that a catalogue installed by Helm is seen, too."""
_REFERENCE_KINDS = (("", "configmaps"), ("", "secrets"))
_KIND_BY_PLURAL = {
    "configmaps": "ConfigMap",
    "persistentvolumeclaims": "PersistentVolumeClaim",
    "secrets": "Secret",
    "services": "Service",
}
"""The kinds that a resource may refer to, by the plural in an event."""


class Handlers:
    """The handlers: they keep the known resources, wake workers, and set `stop` at the end."""

    def __init__(self, reconciler: Reconciler, workers: Workers, stop: asyncio.Event) -> None:
        self._reconciler = reconciler
        self._workers = workers
        self._stop = stop

    def registry(self) -> kopf.OperatorRegistry:
        """Return a kopf registry with all handlers."""
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(_login)
        kopf.on.cleanup(registry=registry)(self.close)
        for kind in KINDS:
            # with the version: otherwise kopf sees only kinds of the group's newest version
            kopf.on.event(GROUP, VERSION, kind.plural, registry=registry)(self.on_resource_event)
        for group, plural in (*_RELEASE_KINDS, *_REFERENCE_KINDS):
            kopf.on.event(group, plural, registry=registry)(self.on_object_event)
        return registry

    async def on_resource_event(self, body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002
        """Handle a custom resource that exists, has changed or was deleted."""
        resource = Resource(dict(body))
        key, known = resource.key, self._reconciler.known
        if type == "DELETED":
            self._workers.forget(key)
            self._reconciler.forget(key)
            return
        before, known[key] = known.get(key), resource
        if before is None or _differ(before, resource):
            self._workers.wake(key)

    async def on_object_event(
        self,
        body: kopf.Body,
        resource: kopf.Resource,
        type: str | None,  # noqa: A002
        **_: Any,
    ) -> None:
        """Handle an object of a release, or one that resources refer to."""
        self._reconciler.object_watch.record_event(dict(body), deleted=type == "DELETED")
        metadata = body.metadata
        namespace, name = metadata.namespace or "", metadata.name or ""
        owner = owner_of(metadata.labels, namespace)
        if owner in self._reconciler.known:
            self._workers.wake(owner)
        kind = _KIND_BY_PLURAL.get(resource.plural, "")
        for key in self._reconciler.referring_to(kind, namespace, name):
            self._workers.wake(key)

    async def close(self, **_: Any) -> None:
        """Stop the workers and the operator."""
        await self._workers.close()
        self._stop.set()  # otherwise kopf waits for the task that waits for `stop`


def _login(**known: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_service_account(**known) or kopf.login_via_client(**known)


def kopf_settings(settings: OperatorSettings) -> kopf.OperatorSettings:
    """Return kopf's settings: server-side filters, and timeouts for all that waits."""
    result = kopf.OperatorSettings()
    for group, plural in _RELEASE_KINDS:
        result.watching.label_selectors[group, plural] = f"{NAME_LABEL}={CHART_NAME}"
    # Helm stores its releases in Secrets of up to a megabyte, to which nothing refers
    result.watching.field_selectors["", "secrets"] = "type!=helm.sh/release.v1"
    result.watching.server_timeout = 240
    result.watching.client_timeout = 300
    result.watching.connect_timeout = 10
    result.watching.chunk_size = 500
    result.networking.request_timeout = 30
    result.networking.connect_timeout = 10
    result.scanning.disabled = bool(settings.namespaces)
    result.posting.reporting_component = MANAGER
    result.posting.reporting_instance = settings.identity
    result.posting.event_name_prefix = f"{MANAGER}-"
    result.process.ultimate_exiting_timeout = 30
    return result


def post_event(resource: Resource, kind: str, reason: str, message: str) -> None:
    """Post an Event about a resource; called by a worker, which a handler has started."""
    kopf.event(
        kopf.Body(resource.body),  # type: ignore[arg-type]
        type=kind,
        reason=reason,
        message=message,
    )


def _differ(before: Resource, after: Resource) -> bool:
    """Return whether anything but the status has changed, which the operator writes itself."""
    return (before.metadata["uid"], before.generation, before.is_deleting) != (
        after.metadata["uid"],
        after.generation,
        after.is_deleting,
    )
