"""The private parts of nats-py and asyncio that `connection` and its sockets rely on.

They may change in any minor release of nats-py, so `pyproject.toml` pins the minor version. Every
part is listed here once: a test fails when one is gone, has another signature, or is not listed.
"""

import ast
import asyncio
import inspect
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from nats.aio import client as nats_client
from nats.aio.client import Client
from nats.aio.transport import TcpTransport, WebSocketTransport
from nats.protocol.parser import Parser as NatsParser

from dimse_ingestion.transport.nats import (
    connection,
    server_protocol,
    socket_reader,
    socket_writer,
)
from dimse_ingestion.transport.nats.connection import Connection

PINNED = "2.16"

REPLACED_METHODS = {
    "_select_next_server": "(self)",
    "_connect_command": "(self)",
    "_read_loop": "(self)",
    "_ping_interval": "(self)",
    "_flusher": "(self)",
}
"""Methods of nats-py's client that `Connection` replaces, with their parameters."""

CALLED_METHODS = {
    "_connect_to_server": "(self, s)",
    "_process_info": "(self, info, initial_connection)",
}
"""Methods of nats-py's client that `Connection` or its parser calls."""

CLIENT_ATTRIBUTES = {
    *("_ps", "_status", "_transport", "_max_payload", "_pongs", "_current_server"),
    *("_server_pool", "_reading_task", "_ping_interval_task", "_flusher_task"),
}
TCP_ATTRIBUTES = {"_io_writer", "_bare_io_writer", "_io_reader"}
WEB_SOCKET_ATTRIBUTES = {"_ws", "_client", "_using_tls"}
ASYNCIO_ATTRIBUTES = {"_buffer", "_over_ssl"}
"""Of `asyncio.StreamReader` and `asyncio.StreamReaderProtocol`, reached by way of `vars`."""


def parameters(function: object) -> str:
    assert callable(function)
    return f"({', '.join(inspect.signature(function).parameters)})"


def private_names(module: object) -> set[str]:
    """Return the private attributes that a module's code names, by `x._name` or as a string."""
    tree = ast.parse(inspect.getsource(module))  # type: ignore[arg-type] # a module
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


def own_names(module: object) -> set[str]:
    """Return the private names that a module defines itself: functions and assigned attributes."""
    tree = ast.parse(inspect.getsource(module))  # type: ignore[arg-type] # a module
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    names = {node.name for node in ast.walk(tree) if isinstance(node, functions)}
    stored = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return names | {node.attr for node in stored if isinstance(node.ctx, ast.Store)}


def test_the_installed_nats_py_has_the_pinned_minor_version() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    (requirement,) = (each for each in project["dependencies"] if each.startswith("nats-py"))
    assert requirement.endswith(f">={PINNED},<2.17")
    assert version("nats-py").startswith(f"{PINNED}.")


@pytest.mark.parametrize(("name", "expected"), (REPLACED_METHODS | CALLED_METHODS).items())
def test_a_private_method_of_nats_py_has_its_signature(name: str, expected: str) -> None:
    assert parameters(getattr(Client, name)) == expected


@pytest.mark.parametrize("name", REPLACED_METHODS)
def test_a_replaced_method_is_replaced_by_one_of_the_same_kind(name: str) -> None:
    replaced, replacement = getattr(Client, name), getattr(Connection, name)
    assert replaced is not replacement
    assert parameters(replacement) == parameters(replaced)
    assert inspect.iscoroutinefunction(replacement) == inspect.iscoroutinefunction(replaced)


@pytest.mark.parametrize(
    "name", ["_select_next_server", "_connect_command", "_read_loop", "_ping_interval", "_flusher"]
)
def test_nats_py_still_calls_a_replaced_method(name: str) -> None:
    assert f"self.{name}()" in inspect.getsource(nats_client)


def test_the_parser_can_stand_in_for_the_one_of_nats_py() -> None:
    for name in ("parse", "reset"):
        expected = parameters(getattr(NatsParser, name))
        assert parameters(getattr(server_protocol.Parser, name)) == expected


def test_the_client_has_its_private_attributes() -> None:
    assert vars(Client()).keys() >= CLIENT_ATTRIBUTES


async def test_the_transports_have_their_private_attributes() -> None:
    tcp = TcpTransport()  # type: ignore[no-untyped-call] # nats-py does not annotate it
    assert vars(tcp).keys() >= TCP_ATTRIBUTES
    transport = WebSocketTransport()
    assert vars(transport).keys() >= WEB_SOCKET_ATTRIBUTES
    await transport._client.close()


async def test_the_streams_of_asyncio_have_their_private_attributes() -> None:
    reader = asyncio.StreamReader()
    assert "_buffer" in vars(reader)
    assert "_over_ssl" in vars(asyncio.StreamReaderProtocol(reader))


def test_every_private_part_in_use_is_listed() -> None:
    listed = {*REPLACED_METHODS, *CALLED_METHODS, *CLIENT_ATTRIBUTES, *TCP_ATTRIBUTES}
    listed |= WEB_SOCKET_ATTRIBUTES | ASYNCIO_ATTRIBUTES
    for module in (connection, socket_reader, socket_writer):
        assert private_names(module) - own_names(module) <= listed
