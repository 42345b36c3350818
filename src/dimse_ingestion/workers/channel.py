"""The channel between the supervisor and one worker: a pair of Unix sockets.

The supervisor sends single bytes: a new connection, whose socket travels with the byte, or a
request. The worker sends JSON lines. What is done with a message is the caller's.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Mapping
from typing import Any

CONNECTION, HEALTH, PING = b"C", b"H", b"P"
_LONGEST_READ = 64 * 1024
_ANSWER_TIMEOUT = 4.0
"""Seconds; longer than a check of readiness may take."""


class WorkerGone(Exception):
    """The worker has ended, or does not answer."""


class WorkerEnd:
    """The worker's end: it takes the supervisor's messages one by one."""

    def __init__(self, channel: socket.socket, ended: Callable[[], None]) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._ended = ended
        self._take_connection: Callable[[socket.socket], None] = lambda plain: plain.close()
        self._answer: Callable[[bytes, int], None] = lambda _request, _number: None
        self._requests = 0

    def start(
        self,
        take_connection: Callable[[socket.socket], None],
        answer: Callable[[bytes, int], None],
    ) -> None:
        """Read from now on: pass connections and numbered requests to these functions."""
        self._take_connection, self._answer = take_connection, answer
        asyncio.get_running_loop().add_reader(self._channel, self._read)

    def stop(self) -> None:
        """Read no more."""
        asyncio.get_running_loop().remove_reader(self._channel)

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message; without effect when the supervisor is gone."""
        with contextlib.suppress(OSError):
            self._channel.sendall(json.dumps(message).encode() + b"\n")

    def _read(self) -> None:
        try:
            message, descriptors, _, _ = socket.recv_fds(self._channel, 1, 1)
        except BlockingIOError:
            return
        except OSError:
            message, descriptors = b"", []
        if message == CONNECTION and descriptors:
            self._take_connection(socket.socket(fileno=descriptors[0]))
        elif message:
            self._requests += 1
            self._answer(message, self._requests)
        else:
            self.stop()
            self._ended()


class SupervisorEnd:
    """The supervisor's end: it sends connections and requests, and waits for answers."""

    def __init__(self, channel: socket.socket, take: Callable[[Mapping[str, Any]], None]) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._take = take
        self._received = b""
        self._requests = 0
        self._answers: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        asyncio.get_running_loop().add_reader(channel, self._read)

    def pass_connection(self, plain: socket.socket) -> bool:
        """Send a connection to the worker; return False when it can't take one now."""
        try:
            socket.send_fds(self._channel, [CONNECTION], [plain.fileno()])
        except OSError:
            return False
        return True

    async def request(self, kind: bytes) -> Mapping[str, Any]:
        """Return the worker's answer. Raises WorkerGone."""
        try:
            self._channel.send(kind)
        except OSError:
            raise WorkerGone from None
        self._requests += 1
        answer = asyncio.get_running_loop().create_future()
        self._answers[number := self._requests] = answer
        try:
            return await asyncio.wait_for(answer, _ANSWER_TIMEOUT)
        except TimeoutError:
            raise WorkerGone from None
        finally:
            self._answers.pop(number, None)

    def close(self) -> None:
        """Take the last messages and close: the worker has ended. Open requests fail."""
        if self._channel.fileno() >= 0:
            while self._read():
                pass
            asyncio.get_running_loop().remove_reader(self._channel)
            self._channel.close()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(WorkerGone())

    def _read(self) -> bool:
        """Take what has arrived; return whether more may follow at once."""
        try:
            received = self._channel.recv(_LONGEST_READ)
        except BlockingIOError:
            return False
        except OSError:
            received = b""
        if not received:
            asyncio.get_running_loop().remove_reader(self._channel)
            return False
        *lines, self._received = (self._received + received).split(b"\n")
        for line in lines:
            self._take_message(json.loads(line))
        return True

    def _take_message(self, message: Mapping[str, Any]) -> None:
        if "number" not in message:
            self._take(message)
        elif (answer := self._answers.get(message["number"])) and not answer.done():
            answer.set_result(message)
