"""A cache of results of finished sessions, in case the proxy did not receive them.

A transient failure and a result that follows matches, instances or bytes are returned to their
session only: when the same request is opened again, it is performed again. The cache is bounded in
number and in time.
"""

from collections import OrderedDict

from dimse_ingestion.transport.protocol.codec import Result
from dimse_ingestion.transport.protocol.messages import (
    CommitOpen,
    EchoRequest,
    FetchOpen,
    FindOpen,
    RetrieveOpen,
    StoreOpen,
)

_MAX_RESULTS = 10_000
Request = EchoRequest | StoreOpen | FindOpen | CommitOpen | RetrieveOpen | FetchOpen


class ResultCache:
    """Results by session, and final results by request, each stored for `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._sessions: OrderedDict[str, tuple[float, Request | None, Result]] = OrderedDict()
        self._requests: dict[Request, Result] = {}

    def put(self, session: str, request: Request, result: Result, now: float) -> None:
        """Store the result of a session."""
        self._expire(now)
        final = result.store is not None and not result.store.transient
        self._sessions[session] = (now + self._seconds, request if final else None, result)
        if final:
            self._requests[request] = result

    def by_session(self, session: str, now: float) -> Result | None:
        """Return the result of a session, or None."""
        self._expire(now)
        entry = self._sessions.get(session)
        return entry[2] if entry else None

    def by_request(self, request: Request, now: float) -> Result | None:
        """Return the final result of an equal request with the same operation id, or None."""
        self._expire(now)
        return self._requests.get(request)

    def _expire(self, now: float) -> None:
        while self._sessions:
            session, (until, request, result) = next(iter(self._sessions.items()))
            if now < until and len(self._sessions) < _MAX_RESULTS:
                return
            del self._sessions[session]
            if request is not None and self._requests.get(request) is result:
                del self._requests[request]
