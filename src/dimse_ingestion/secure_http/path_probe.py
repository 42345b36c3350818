"""Probe of a URL's path: find out whether it takes POST requests, without an effect there.

That a server is reached does not show that the path is right: a wrong one would come to light with
the first image. OPTIONS shows it where the server answers for the path (RFC 9110 9.3.7, 15.5.6).
Where it does not, an empty POST is sent, which a sink or catalogue refuses as malformed.
"""

from http import HTTPStatus

from dimse_ingestion.secure_http.client import SecureClient

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

    async def status(self, client: SecureClient) -> int:
        """Return the expected status of a POST; 2xx when the path is right.

        Raises the client's exceptions.
        """
        async with client.request("OPTIONS", self._url, seconds=self._timeout) as options:
            status = options.status
            self.accept_post = options.headers.get("accept-post", "")
            allowed = options.headers.get("allow", "").upper()
        if "POST" in allowed and status != HTTPStatus.NOT_FOUND:
            return _status_of_allowed(status)
        if allowed and status == HTTPStatus.METHOD_NOT_ALLOWED:
            return status
        if not (is_success(status) or status in _UNCLEAR):
            return status
        return HTTPStatus.OK if self._has_handler else await self._post(client)

    async def _post(self, client: SecureClient) -> int:
        headers = {"content-type": "application/json"}
        async with client.request(
            "POST", self._url, headers=headers, seconds=self._timeout
        ) as answer:
            status = answer.status
        self._has_handler = is_success(status) or _is_about_the_body(status)
        return HTTPStatus.OK if self._has_handler else status


def is_success(status: int) -> bool:
    """Return whether an HTTP status is a 2xx."""
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def _is_about_the_body(status: int) -> bool:
    """Return whether it is a client error about the body, not about the path or the client."""
    is_client_error = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    about_the_client = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
    return is_client_error and status not in NO_HANDLER | about_the_client


def _status_of_allowed(status: int) -> int:
    """Return the status, or 200 for one that refuses only OPTIONS itself."""
    only_options = {HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.FORBIDDEN}
    return HTTPStatus.OK if status in only_options else status
