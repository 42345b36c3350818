"""Which of several replicas works: the one that holds a Lease.

kopf's own peering is none of the kind: of two alike, both would stop. The election is the
Kubernetes client's; here it is made to survive an API server that doesn't answer, and to give the
Lease back.
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
    """A Lease whose every request has an end, well before the Lease is another's."""

    async def get(
        self, name: str, namespace: str
    ) -> tuple[bool, LeaderElectionRecord] | tuple[bool, Exception] | tuple[bool, None]:
        try:
            async with asyncio.timeout(_RETRY):
                return await super().get(name, namespace)
        except _NO_ANSWER as trouble:
            return False, ApiException(status=0, reason=str(trouble) or "no answer")

    async def create(
        self, name: str, namespace: str, election_record: LeaderElectionRecord
    ) -> bool:
        # not by the base class: it asks for `pretty=True`, which its own client refuses
        lease = V1Lease(metadata=V1ObjectMeta(name=name), spec=self.update_lease(election_record))
        try:
            async with asyncio.timeout(_RETRY):
                await self.api_instance.create_namespaced_lease(namespace, lease)
        except (ApiException, *_NO_ANSWER) as trouble:
            _LOG.warning("The Lease can't be made.", lease=name, because=_reason(trouble))
            return False
        return True

    async def update(self, name: str, namespace: str, updated_record: LeaderElectionRecord) -> bool:
        try:
            async with asyncio.timeout(_RETRY):
                return await super().update(name, namespace, updated_record)
        except _NO_ANSWER:
            return False

    async def give_back(self) -> None:
        """Let another take the Lease at once."""
        try:
            async with asyncio.timeout(_RETRY):
                lease = await self.api_instance.read_namespaced_lease(self.name, self.namespace)
                if lease.spec is None or lease.spec.holder_identity != self.identity:
                    return
                lease.spec.holder_identity = None
                await self.api_instance.replace_namespaced_lease(self.name, self.namespace, lease)
        except (ApiException, *_NO_ANSWER):
            _LOG.warning("The Lease was not given back: it ends by itself.")


class Leadership:
    """Waits to be set: `begun` when this replica may work, `ended` when it may no more."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()


@asynccontextmanager
async def candidate(client: ApiClient, settings: OperatorSettings) -> AsyncIterator[Leadership]:
    """Be a candidate within the block; its end gives the Lease back, if it was this replica's."""
    leadership = Leadership()
    lock = _Lock(settings.lease, settings.lease_namespace, settings.identity, client)
    task = asyncio.create_task(_elected(lock, settings, leadership), name="leader election")
    try:
        yield leadership
    finally:
        held = leadership.begun.is_set() and not leadership.ended.is_set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if held:
            await lock.give_back()
        metrics.operator_leading.set(0)


async def _elected(lock: _Lock, settings: OperatorSettings, leadership: Leadership) -> None:
    async def begin() -> None:
        _LOG.info("This replica works.", lease=settings.lease, identity=settings.identity)
        metrics.operator_leading.set(1)
        leadership.begun.set()

    async def end() -> None:
        _LOG.error("The Lease could not be renewed: another replica may work now.")

    # renewed until two thirds of its time are gone: the last request, too, ends within it
    deadline = settings.lease_seconds * 2 / 3
    configuration = Config(
        lock, settings.lease_seconds, deadline, min(_RETRY, deadline / 2), begin, end
    )
    try:
        await LeaderElection(configuration).run()
    except Exception as error:  # noqa: BLE001 - without an election nothing may go on
        _LOG.error("The election broke off.", because=repr(error))
    finally:
        leadership.ended.set()


def _reason(trouble: Exception) -> str:
    if isinstance(trouble, ApiException):
        return str(trouble.reason)
    return str(trouble) or "no answer"
