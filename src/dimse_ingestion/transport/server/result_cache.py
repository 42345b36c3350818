"""Results of sessions that are over, for as long as somebody may still ask for them.

A result that a retry could better, and one that has matches before it, is kept for its session
only: the same request opened again is then done again. Bounded in number and in time.
"""

from collections import OrderedDict

from dimse_ingestion.transport.protocol.codec import Result
from dimse_ingestion.transport.protocol.messages import EchoRequest, FindOpen, StoreOpen

_MAX_RESULTS = 10_000
Request = EchoRequest | StoreOpen | FindOpen


class ResultCache:
    """Results by session, and final ones by what was asked, each for `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._sessions: OrderedDict[str, tuple[float, Request | None, Result]] = OrderedDict()
        self._requests: dict[Request, Result] = {}

    def put(self, session: str, request: Request, result: Result, now: float) -> None:
        """Keep how a session ended."""
        self._expire(now)
        final = result.store is not None and not result.store.transient
        self._sessions[session] = (now + self._seconds, request if final else None, result)
        if final:
            self._requests[request] = result

    def by_session(self, session: str, now: float) -> Result | None:
        """How a session ended."""
        self._expire(now)
        entry = self._sessions.get(session)
        return entry[2] if entry else None

    def by_request(self, request: Request, now: float) -> Result | None:
        """The final result of the same operation, asked for the same."""
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
