"""The URL of the catalogue's database: parsed, and refused with the mistake that it contains.

A sentence repeats the names of options and the port, but no host, user or database: a password with
an unescaped `@` or `/` ends up in those. The engine is made in `database`.
"""

from functools import cache

from psycopg.pq import Conninfo
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

_DRIVERS = {
    "sqlite+aiosqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
}
_SQLITE, _POSTGRESQL = "sqlite", "postgresql+psycopg"
_MAXIMUM_PORT = 65535
_CURE = (
    "give postgresql+psycopg://user:password@host/name or sqlite:////path/catalogue.db, with "
    "other characters than letters and digits of a user or password as %XX."
)


def parse_database_url(url: str) -> URL:
    """Return the parsed URL, with the driver of this catalogue.

    Raises ValueError with a sentence that names the mistake, and repeats no password.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as wrong:
        raise ValueError(f"DATABASE_URL is no URL of a database: {_CURE}") from wrong
    parsed = parsed.set(drivername=_DRIVERS.get(parsed.drivername, parsed.drivername))
    if parsed.drivername not in (_SQLITE, _POSTGRESQL):
        raise ValueError(f"DATABASE_URL is no database this catalogue knows: {_CURE}")
    if "\0" in url or "%00" in url:
        raise ValueError("DATABASE_URL contains a NUL character: remove it.")
    if not parsed.database:
        raise ValueError(f"DATABASE_URL names no database: {_CURE}")
    if parsed.drivername == _SQLITE:
        _check_file(parsed.database)
    else:
        _check_server(parsed)
    return parsed


def _check_file(path: str) -> None:
    if ":memory:" in path:
        raise ValueError(
            "DATABASE_URL is a database in memory, which would lose events that it has accepted: "
            "give a file, sqlite:////path/catalogue.db."
        )
    if path.endswith("/"):
        raise ValueError(
            "DATABASE_URL is a folder: give the file in it, sqlite:////path/catalogue.db."
        )


def _check_server(url: URL) -> None:
    for port in _ports(url):
        if not (port.isascii() and port.isdigit() and 0 < int(port) <= _MAXIMUM_PORT):
            raise ValueError(
                f"DATABASE_URL: the port {port} is none: give one from 1 to {_MAXIMUM_PORT}."
            )
    if unknown := sorted(set(url.query) - _options()):
        raise ValueError(
            f"DATABASE_URL: {', '.join(unknown)} is no option of PostgreSQL's connections: "
            "remove it, or correct its name."
        )


def _ports(url: URL) -> list[str]:
    """Return the ports of the URL's authority, of `port=`, and of each `host=host:port`."""
    hosts = [host for value in url.normalized_query.get("host", ()) for host in value.split(",")]
    ports = [host.rpartition(":")[2] for host in hosts if host.count(":") == 1]
    ports += [port for value in url.normalized_query.get("port", ()) for port in value.split(",")]
    return [port for port in ports if port] + ([] if url.port is None else [str(url.port)])


@cache
def _options() -> frozenset[str]:
    """Return the options that libpq knows, and SQLAlchemy's own."""
    return frozenset(each.keyword.decode() for each in Conninfo.get_defaults())
