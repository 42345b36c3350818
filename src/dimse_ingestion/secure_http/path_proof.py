"""Whether a POST would be taken at a URL, asked without doing anything.

A server that is reached says nothing about a path: a wrong one would come to light with the first
image. OPTIONS tells it where the server answers for the path (RFC 9110 9.3.7, 15.5.6). Where it
does not, an empty POST does: no sink or catalogue takes that for more than a malformed request.
"""

from http import HTTPStatus

import httpx2

NO_HANDLER = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.GONE})
"""What an answer has when nothing takes a POST at its URL."""

_UNCLEAR = NO_HANDLER | {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_IMPLEMENTED}  # may be OPTIONS' alone


class PathProof:
    """Proves the path of one URL; remembers that an empty POST has proved it."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._is_proved = False

    async def status(self, client: httpx2.AsyncClient) -> int:
        """Return the status that a POST would meet, as far as can be told; 2xx when it is well.

        Raises as the client does.
        """
        options = await client.options(self._url, timeout=self._timeout)
        allowed = options.headers.get("allow", "").upper()
        if "POST" in allowed and options.status_code != HTTPStatus.NOT_FOUND:
            return _without_allowance(options.status_code)
        if allowed and options.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            return options.status_code
        if not (options.is_success or options.status_code in _UNCLEAR):
            return options.status_code
        return HTTPStatus.OK if self._is_proved else await self._posted(client)

    async def _posted(self, client: httpx2.AsyncClient) -> int:
        headers = {"content-type": "application/json"}
        answer = await client.post(self._url, headers=headers, timeout=self._timeout)
        self._is_proved = answer.is_success or (answer.is_client_error and not _is_refusal(answer))
        return HTTPStatus.OK if self._is_proved else answer.status_code


def _is_refusal(answer: httpx2.Response) -> bool:
    """Return whether a client error is about the path or the client, not about the body."""
    about_the_client = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
    return answer.status_code in NO_HANDLER | about_the_client


def _without_allowance(status: int) -> int:
    """Return the status, 200 for one that says only that OPTIONS itself is not allowed."""
    only_options = {HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.FORBIDDEN}
    return HTTPStatus.OK if status in only_options else status
