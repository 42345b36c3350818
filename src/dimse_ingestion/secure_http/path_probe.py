"""Probe of a URL's path: find out whether it takes POST requests, without an effect there.

That a server is reached does not show that the path is right: a wrong one would come to light with
the first image. OPTIONS shows it where the server answers for the path (RFC 9110 9.3.7, 15.5.6).
Where it does not, an empty POST is sent, which a sink or catalogue refuses as malformed.
"""

from http import HTTPStatus

import httpx2

NO_HANDLER = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.GONE})
"""Statuses of an answer that show that no POST is handled at its URL."""

_UNCLEAR = NO_HANDLER | {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_IMPLEMENTED}  # may be OPTIONS' alone


class PathProbe:
    """Probe the path of one URL; once an empty POST has shown that it is right, send no more."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._has_handler = False
        self.accept_post = ""
        """The media types that the last answer to OPTIONS announced (the header Accept-Post)."""

    async def status(self, client: httpx2.AsyncClient) -> int:
        """Return the expected status of a POST; 2xx when the path is right.

        Raises the client's exceptions.
        """
        options = await client.options(self._url, timeout=self._timeout)
        self.accept_post = options.headers.get("accept-post", "")
        allowed = options.headers.get("allow", "").upper()
        if "POST" in allowed and options.status_code != HTTPStatus.NOT_FOUND:
            return _status_of_allowed(options.status_code)
        if allowed and options.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            return options.status_code
        if not (options.is_success or options.status_code in _UNCLEAR):
            return options.status_code
        return HTTPStatus.OK if self._has_handler else await self._post(client)

    async def _post(self, client: httpx2.AsyncClient) -> int:
        headers = {"content-type": "application/json"}
        answer = await client.post(self._url, headers=headers, timeout=self._timeout)
        self._has_handler = answer.is_success or (
            answer.is_client_error and not _is_refusal(answer)
        )
        return HTTPStatus.OK if self._has_handler else answer.status_code


def _is_refusal(answer: httpx2.Response) -> bool:
    """Return whether a client error is about the path or the client, not about the body."""
    about_the_client = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
    return answer.status_code in NO_HANDLER | about_the_client


def _status_of_allowed(status: int) -> int:
    """Return the status, or 200 for one that refuses only OPTIONS itself."""
    only_options = {HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.FORBIDDEN}
    return HTTPStatus.OK if status in only_options else status
