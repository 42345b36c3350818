"""One data set on its way in, from the receiver's side: frames in, chunks and frames out.

Sans-IO, like `sender`. It takes only the byte it expects next: a gap is answered with RESUME, a
repetition is ignored. What was granted and not consumed never exceeds the window.
"""

from dimse_ingestion.transport.frames import Abort, Frame, Kind, State
from dimse_ingestion.transport.timing import Timing

_CREDIT_EACH = 4  # new credit is sent for each quarter of the window


class Receiving:
    """The receiver's half of a session.

    `outgoing` are frames to send and `chunks` bytes to hand on; the driver empties both.
    `complete` is set when all bytes came, `broken` says why no more will come.
    """

    def __init__(self, size: int, window: int, timing: Timing, now: float) -> None:
        self.outgoing: list[Frame] = []
        self.chunks: list[bytes] = []
        self.complete = False
        self.broken = ""
        self._size = size
        self._window = window
        self._timing = timing
        self._expected = 0
        self._consumed = 0
        self._limit = window
        self._heard = now
        self._asked_to_resume = -1

    @property
    def limit(self) -> int:
        """The first byte that may not be sent yet."""
        return self._limit

    def received(self, frame: Frame, now: float) -> None:
        """Take one frame from the sender."""
        self._heard = now
        match frame.kind:
            case Kind.DATA:
                self._data(frame.offset, frame.body)
            case Kind.END:
                self._end()
            case Kind.PROBE:
                self._send(Kind.STATE)
            case Kind.ABORT:
                self._break(f"The proxy gave up. {frame.content(Abort).reason}")
            case _:
                pass

    def consumed(self, length: int) -> None:
        """So many bytes have gone on: grant as many more."""
        self._consumed += length
        limit = min(self._consumed + self._window, self._size)
        enough = limit - self._limit >= self._window // _CREDIT_EACH or limit == self._size
        if enough and limit > self._limit:
            self._limit = limit
            self._send(Kind.CREDIT)

    def tick(self, now: float) -> None:
        """Let time pass: a sender that is silent for the lease has gone."""
        if not self.complete and now - self._heard >= self._timing.lease:
            self._break(f"Nothing came for {self._timing.lease:g} s.")

    def _data(self, offset: int, body: bytes) -> None:
        if self.broken or self.complete or offset < self._expected:
            return
        if offset > self._expected:
            self._ask_to_resume()
        elif offset + len(body) > min(self._limit, self._size):
            self._break("More bytes came than were announced or granted.")
        else:
            self._expected += len(body)
            self.chunks.append(body)
            self._asked_to_resume = -1

    def _end(self) -> None:
        if self._expected < self._size:
            self._ask_to_resume(again=True)
        elif not self.broken:
            self.complete = True

    def _ask_to_resume(self, *, again: bool = False) -> None:
        """Once for a gap: what is already on the way behind it needs no second answer."""
        if again or self._asked_to_resume != self._expected:
            self._asked_to_resume = self._expected
            self._send(Kind.RESUME)

    def _break(self, why: str) -> None:
        self.broken = self.broken or why

    def _send(self, kind: Kind) -> None:
        self.outgoing.append(Frame.of(kind, State(expected=self._expected, limit=self._limit)))
