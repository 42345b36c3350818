"""Leader election: of several replicas, the one that holds a Lease works.

kopf's own peering is not used: of two replicas with the same priority, both would stop. The
election is the Kubernetes client's; here it gets timeouts for an API server that does not answer,
and a release of the Lease at the end.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from kubernetes.aio.client import ApiClient, V1Lease, V1ObjectMeta
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

from dimse_ingestion.observability import metrics
from dimse_ingestion.observability.logging import logger
from dimse_ingestion.settings import OperatorSettings

_LOG = logger(__name__)
_NO_ANSWER = (aiohttp.ClientError, TimeoutError, OSError)
_RETRY = 2.0


class _Lock(LeaseLock):
    """A Lease lock whose every request has a timeout, well before the Lease expires."""

    async def get(
        self, name: str, namespace: str
    ) -> tuple[bool, LeaderElectionRecord] | tuple[bool, Exception] | tuple[bool, None]:
        try:
            async with asyncio.timeout(_RETRY):
                return await super().get(name, namespace)
        except _NO_ANSWER as error:
            return False, ApiException(status=0, reason=str(error) or "no answer")

    async def create(
        self, name: str, namespace: str, election_record: LeaderElectionRecord
    ) -> bool:
        # not by the base class: it passes `pretty=True`, which its own client refuses
        lease = V1Lease(metadata=V1ObjectMeta(name=name), spec=self.update_lease(election_record))
        try:
            async with asyncio.timeout(_RETRY):
                await self.api_instance.create_namespaced_lease(namespace, lease)
        except (ApiException, *_NO_ANSWER) as error:
            _LOG.warning("The Lease can't be created.", lease=name, reason=_describe(error))
            return False
        return True

    async def update(self, name: str, namespace: str, updated_record: LeaderElectionRecord) -> bool:
        try:
            async with asyncio.timeout(_RETRY):
                return await super().update(name, namespace, updated_record)
        except _NO_ANSWER:
            return False

    async def release(self) -> None:
        """Clear the Lease's holder, so that another replica can take it at once."""
        try:
            async with asyncio.timeout(_RETRY):
                lease = await self.api_instance.read_namespaced_lease(self.name, self.namespace)
                if lease.spec is None or lease.spec.holder_identity != self.identity:
                    return
                lease.spec.holder_identity = None
                await self.api_instance.replace_namespaced_lease(self.name, self.namespace, lease)
        except (ApiException, *_NO_ANSWER):
            _LOG.warning("The Lease could not be released: it expires by itself.")


class Leadership:
    """Events: `acquired` when this replica may work, `lost` when it may no longer."""

    def __init__(self) -> None:
        self.acquired = asyncio.Event()
        self.lost = asyncio.Event()


@asynccontextmanager
async def candidate(client: ApiClient, settings: OperatorSettings) -> AsyncIterator[Leadership]:
    """Take part in the election within the block; then release the Lease, if this replica's."""
    leadership = Leadership()
    lock = _Lock(settings.lease, settings.lease_namespace, settings.identity, client)
    task = asyncio.create_task(_run_election(lock, settings, leadership), name="leader election")
    try:
        yield leadership
    finally:
        held = leadership.acquired.is_set() and not leadership.lost.is_set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if held:
            await lock.release()
        metrics.operator_leading.set(0)


async def _run_election(lock: _Lock, settings: OperatorSettings, leadership: Leadership) -> None:
    async def on_acquired() -> None:
        _LOG.info("This replica holds the Lease.", lease=settings.lease, identity=settings.identity)
        metrics.operator_leading.set(1)
        leadership.acquired.set()

    async def on_stopped() -> None:
        _LOG.error("The Lease could not be renewed: another replica may work now.")

    # renewed until two thirds of its duration have passed: the last request ends within it
    deadline = settings.lease_seconds * 2 / 3
    configuration = Config(
        lock, settings.lease_seconds, deadline, min(_RETRY, deadline / 2), on_acquired, on_stopped
    )
    try:
        await LeaderElection(configuration).run()
    except Exception as error:  # noqa: BLE001 - without an election no replica may work
        _LOG.error("The leader election failed.", reason=repr(error))
    finally:
        leadership.lost.set()


def _describe(error: Exception) -> str:
    if isinstance(error, ApiException):
        return str(error.reason)
    return str(error) or "no answer"
