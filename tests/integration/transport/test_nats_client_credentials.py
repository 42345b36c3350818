"""Authentication at a real nats-server, its permissions, and the messages for an operator."""

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dimse_ingestion.settings.mounted import MountedMissing
from dimse_ingestion.transport.protocol.subjects import proxy_permissions
from harness.nats_accounts import Operator, user_key
from harness.nats_server import NatsServer, nats_server
from tests.nats_clients import QUICK, ReceivedMessages, connected_client, eventually, started_client


@pytest.fixture(scope="module")
def operator() -> Operator:
    return Operator()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path / "nats") as running:
        yield running


@pytest.fixture
def guarded(tmp_path: Path, operator: Operator) -> Iterator[NatsServer]:
    """Run a server in operator mode."""
    with nats_server(tmp_path / "guarded", operator.configuration) as running:
        yield running


def _lets_in(server: NatsServer, **authorization: Any) -> None:
    server.configuration["authorization"] = authorization
    server.restart()


def _foreign_jwt(subject: str, padding: int = 0) -> str:
    parts = ({"alg": "RS256"}, {"sub": subject, "aud": "nats", "pad": "x" * padding})
    coded = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts)
    return ".".join((*coded, "c2ln")).replace("=", "")


async def _is_let_in(server: NatsServer, keys: Mapping[str, str], **settings: Any) -> None:
    received = ReceivedMessages()
    async with connected_client(server.url, credential=lambda: keys, **settings) as client:
        await client.subscribe("a", received)
        client.publish("a", b"x")
        await eventually(lambda: received.bodies, [b"x"])
        assert client.problem == ""


async def test_a_creds_file_authenticates(guarded: NatsServer, operator: Operator) -> None:
    creds = operator.user().credentials_file
    await _is_let_in(guarded, {"token": creds})
    await _is_let_in(guarded, {"nats.creds": creds})


async def test_a_user_jwt_and_its_seed_authenticate(
    guarded: NatsServer, operator: Operator
) -> None:
    user = operator.user()
    await _is_let_in(guarded, {"token": user.jwt, "seed": user.seed + "\n"})


async def test_a_bearer_jwt_authenticates(guarded: NatsServer, operator: Operator) -> None:
    await _is_let_in(guarded, {"token": operator.user(bearer=True).jwt})


async def test_an_nkey_seed_authenticates(server: NatsServer) -> None:
    key = user_key()
    _lets_in(server, users=[{"nkey": key.public}])
    await _is_let_in(server, {"token": key.seed})


async def test_a_plain_token_authenticates(server: NatsServer) -> None:
    _lets_in(server, token="s3cret")
    await _is_let_in(server, {"token": "s3cret"})


async def test_a_jwt_of_kubernetes_authenticates_as_a_password(server: NatsServer) -> None:
    jwt = _foreign_jwt("system:serviceaccount:imaging:dimse-proxy")
    _lets_in(server, users=[{"user": "dimse-proxy", "password": jwt}])
    await _is_let_in(server, {"token": jwt})


async def test_the_auth_mode_overrides_the_detected_kind(server: NatsServer) -> None:
    jwt = _foreign_jwt("system:serviceaccount:imaging:dimse-proxy")
    _lets_in(server, token=jwt)
    await _is_let_in(server, {"token": jwt}, auth_mode="token")


async def test_a_wrong_token_is_reported_until_it_is_replaced(server: NatsServer) -> None:
    _lets_in(server, token="right")
    keys = {"token": "wrong"}
    async with started_client(server.url, credential=lambda: keys) as client:
        await eventually(lambda: client.problem, "The credential is a plain token")
        assert "Authorization Violation" in client.problem
        assert "wrong" not in client.problem
        keys = {"token": "right"}
        await client.wait_connected(10)
        assert client.problem == ""


async def test_a_rotated_token_is_read_at_the_next_connect(server: NatsServer) -> None:
    _lets_in(server, token="first")
    keys = {"token": "first"}
    async with connected_client(server.url, credential=lambda: keys) as client:
        keys = {"token": "second"}
        _lets_in(server, token="second")
        await eventually(lambda: (client.connected, client.generation), (True, 2))


async def test_a_missing_secret_is_reported_and_waited_for(server: NatsServer) -> None:
    _lets_in(server, token="right")
    keys: dict[str, str] = {}

    def read() -> dict[str, str]:
        if not keys:
            raise MountedMissing("Missing credential Secret /etc/nats: create it.")
        return keys

    async with started_client(server.url, credential=read) as client:
        await eventually(lambda: client.problem, "Missing credential Secret /etc/nats: create it.")
        keys["token"] = "right"
        await client.wait_connected(10)


async def test_an_expired_jwt_leads_to_a_new_connection_with_a_new_one(
    guarded: NatsServer, operator: Operator
) -> None:
    users = [operator.user(expires_in=2), operator.user()]

    def read() -> dict[str, str]:
        return {"token": users[0].credentials_file}

    async with connected_client(guarded.url, credential=read) as client:
        first = users.pop(0)
        changes = list[bool]()
        client.on_change(changes.append)
        await eventually(lambda: changes, [False, True])
        assert (client.generation, client.problem) == (2, "")
        users.insert(0, first)
        guarded.restart()
        await eventually(lambda: client.problem, "It has expired.")
        assert "The credential is a creds file" in client.problem


async def test_a_5_kb_token_is_reported_to_need_a_longer_control_line(
    server: NatsServer,
) -> None:
    jwt = _foreign_jwt("system:serviceaccount:imaging:proxy", padding=3800)
    assert len(jwt) > 5000
    _lets_in(server, users=[{"user": "proxy", "password": jwt}])
    async with started_client(server.url, credential=lambda: {"token": jwt}) as client:
        await eventually(lambda: client.problem, "raise max_control_line")
        assert jwt not in client.problem
        server.configuration["max_control_line"] = 65536
        server.restart()
        await client.wait_connected(10)


async def test_every_missing_permission_is_reported_at_start(
    guarded: NatsServer, operator: Operator
) -> None:
    required_permissions = proxy_permissions("R", "p")
    user = operator.user(
        may_publish=["R.v1.svc.*"],
        may_subscribe=["R._INBOX.p.>"],
    )
    keys = {"token": user.credentials_file}
    async with connected_client(
        guarded.url, credential=lambda: keys, required_permissions=required_permissions
    ) as client:
        assert client.connected
        await eventually(lambda: client.problem, "may not publish to R.v1.in.permission-check")
        assert len(client.denials) == 1


async def test_a_user_with_exactly_the_required_permissions_is_healthy(
    guarded: NatsServer, operator: Operator
) -> None:
    required_permissions = proxy_permissions("R", "p")
    user = operator.user(
        may_publish=required_permissions.publish, may_subscribe=required_permissions.subscribe
    )
    keys = {"token": user.credentials_file}
    async with connected_client(
        guarded.url, credential=lambda: keys, required_permissions=required_permissions
    ) as client:
        await (await client.subscribe("R._INBOX.p.x", ReceivedMessages())).drain()
        assert client.problem == ""


async def test_a_denied_subject_is_reported_at_any_time(
    guarded: NatsServer, operator: Operator
) -> None:
    user = operator.user(may_publish=["Mine.>"], may_subscribe=["Mine.>"])
    keys = {"token": user.credentials_file}
    async with connected_client(guarded.url, credential=lambda: keys) as client:
        client.publish("Yours.a", b"x")
        await eventually(lambda: client.problem, "may not publish to Yours.a")
        await client.subscribe("Yours.b", ReceivedMessages(), queue="q")
        await eventually(lambda: [each.subject for each in client.denials], ["Yours.a", "Yours.b"])
        assert "1 more" in client.problem
        assert client.generation == 1


async def test_new_credentials_end_a_denial_without_a_restart(
    guarded: NatsServer, operator: Operator
) -> None:
    user = operator.user(may_publish=["a"], may_subscribe=["b"])
    received = ReceivedMessages()
    async with connected_client(
        guarded.url, credential=lambda: {"token": user.credentials_file}, **QUICK
    ) as client:
        await client.subscribe("a", received)
        await eventually(lambda: client.problem, "may not subscribe to a")
        user = operator.user(may_publish=["a"], may_subscribe=["a"])
        await eventually(lambda: client.problem, wanted="")
        await eventually(lambda: (client.connected, client.generation), (True, 2))
        client.publish("a", b"x")
        await eventually(lambda: received.bodies, [b"x"])


async def test_a_denial_is_forgotten_when_the_server_grants_the_subject(
    server: NatsServer,
) -> None:
    def grant(*subjects: str) -> dict[str, Any]:
        permissions = {"publish": [*subjects, "x"], "subscribe": [*subjects, "x"]}
        return {"users": [{"user": "u", "password": "p", "permissions": permissions}]}

    _lets_in(server, **grant())
    received = ReceivedMessages()
    async with connected_client(
        server.url, credential=lambda: {"user": "u", "password": "p"}, **QUICK
    ) as client:
        await client.subscribe("a", received)
        await eventually(lambda: client.problem, "may not subscribe to a")
        server.configuration["authorization"] = grant("a")
        server.reload()
        await eventually(lambda: (client.connected, client.problem), (True, ""))
        client.publish("a", b"x")
        await eventually(lambda: received.bodies, [b"x"])
