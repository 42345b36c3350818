"""A proxy that adds a path prefix to a server's URLs and strips it, as an ingress does."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.http_server import served


@contextmanager
def below(prefix: str, server: str) -> Iterator[str]:
    """Yield the URL, with the prefix, of a proxy for `server`; other paths are 404."""

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(f"{prefix}/"):
                self.send_error(404)
                return
            accept = {"accept": self.headers.get("accept", "*/*")}
            request = Request(f"{server}{self.path.removeprefix(prefix)}", headers=accept)
            try:
                with urlopen(request, timeout=30) as answer:
                    self._pass_on(answer.status, answer.headers["content-type"], answer.read())
            except HTTPError as refused:
                self._pass_on(refused.code, refused.headers["content-type"], refused.read())

        def _pass_on(self, status: int, kind: str | None, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", kind or "text/plain")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with served(Proxy) as address:
        yield f"{address}{prefix}/"
