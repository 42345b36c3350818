import io

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from dimse_ingestion.secure_http.bearer import RefusalLog, RequireToken
from dimse_ingestion.secure_http.mounted_value import MountedValue
from dimse_ingestion.settings import MountedMissing
from tests.log_lines import lines

__all__ = ["lines"]


def client(*tokens: str, refusals: RefusalLog | None = None) -> TestClient:
    inside = PlainTextResponse("inside")
    return TestClient(RequireToken(inside, MountedValue(lambda: tokens), refusals))


@pytest.mark.parametrize("token", ["now", "before"])
def test_each_of_the_tokens_lets_in(token: str) -> None:
    answer = client("now", "before").get("/", headers={"authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.text) == (200, "inside")


@pytest.mark.parametrize("token", ["", "no", "nowhere", "NOW", "now,before"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
def test_nothing_else_does(method: str, token: str) -> None:
    answer = client("now", "before").request(
        method, "/", headers={"authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


def test_without_a_configured_token_every_request_is_refused() -> None:
    def missing() -> tuple[str, ...]:
        raise MountedMissing("Missing key token in catalogue Secret core-catalogue: add it.")

    guarded = TestClient(RequireToken(PlainTextResponse("inside"), MountedValue(missing)))
    answer = guarded.get("/", headers={"authorization": "Bearer None"})
    assert answer.status_code == 503
    assert "Missing key token" in answer.json()["title"]


def test_the_log_has_a_line_in_ten_seconds_for_all(lines: io.StringIO) -> None:
    now = [0.0]
    asking = client("now", refusals=RefusalLog(lambda: now[0]))
    for _ in range(3):
        asking.post("/events")
    assert lines.getvalue().count("are refused with 401") == 1
    now[0] = 10.0
    asking.post("/events", headers={"authorization": "Bearer another"})
    last = lines.getvalue().splitlines()[-1]
    assert "requests" in last
    assert "3" in last.split("requests")[1]
    assert "another" not in lines.getvalue()


def test_a_token_that_was_mounted_just_after_a_read_is_accepted() -> None:
    mounted, now, reads = ["one"], [0.0], [0]

    def read() -> tuple[str, ...]:
        reads[0] += 1
        return (mounted[0],)

    tokens = MountedValue(read, lambda: now[0])
    guarded = TestClient(RequireToken(PlainTextResponse("inside"), tokens, clock=lambda: now[0]))

    def status(token: str) -> int:
        return guarded.get("/", headers={"authorization": f"Bearer {token}"}).status_code

    assert status("one") == 200
    mounted[0] = "two"
    now[0] = 0.1
    assert status("two") == 200
    assert [status("wrong") for _ in range(5)] == [401] * 5
    assert reads[0] == 2
    now[0] = 1.2
    assert status("wrong") == 401
    assert reads[0] == 3
