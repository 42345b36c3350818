"""Messages of a hostile user are dropped, and all other users are served."""

import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from dimse_ingestion.transport.protocol.codec import _KINDS, OpenStore, encode
from dimse_ingestion.transport.protocol.subjects import Subjects
from tests.unit.transport.client_server import (
    ROOT,
    ClientServerPair,
    FakeOperations,
    client_server_pair,
    find_open,
    patterned_bytes,
    store_open,
)
from tests.unit.transport.protocol.test_codec import EACH
from tests.unit.transport.virtual_time import run_in_virtual_time

SUBJECTS = Subjects(ROOT)
REPLIES = st.sampled_from(
    [
        "",
        SUBJECTS.inbox("p1", "s"),
        SUBJECTS.inbox("p9", "s"),
        f"{ROOT}.v1.svc.store",
        f"{ROOT}.v1.in.r1.s1",
        f"{ROOT}._INBOX.p1.>",
        f"{ROOT}._INBOX.*.s",
        "elsewhere",
        "\x0b",
    ]
)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["Dimse-Op", "Dimse-Proto", "Dimse-Offset", "Dimse-Zstd", "traceparent", "Status"]
    ),
    st.sampled_from([*_KINDS, "1", "0", "503", "-1", "9" * 30, "00-" + "a" * 32 + "-b-01", "\xff"]),
)
FRAMES = st.sampled_from(EACH).map(encode)
FORGED = st.tuples(FRAMES | st.tuples(HEADERS, st.binary(max_size=40)), REPLIES)


def forge(
    pair: ClientServerPair, subject: str, headers: dict[str, str], body: bytes, reply: str
) -> None:
    """Publish as a user with all permissions."""
    pair.bus.carrier(None).publish(subject, body, reply=reply, headers=headers)


@settings(deadline=None, max_examples=60)
@given(forged=st.lists(FORGED, max_size=12))
def test_forged_messages_stop_nothing(
    forged: list[tuple[tuple[dict[str, str], bytes], str]],
) -> None:
    async def scene() -> None:
        async with client_server_pair(FakeOperations(replica="r1")) as pair:
            for (headers, body), reply in forged:
                for subject in (
                    SUBJECTS.service("store"),
                    SUBJECTS.service("find"),
                    SUBJECTS.session("r1-0", "s"),
                    SUBJECTS.inbox("p1", "s"),
                    pair.requester._inboxes.new(),
                ):
                    forge(pair, subject, headers, body, reply)
            content = patterned_bytes(20_000)
            assert (await pair.store(content, "mine")).status == 0
            assert [each async for each in pair.requester.find(find_open("mine"))] == []
            assert pair.denied_subjects() == []

    with structlog.testing.capture_logs() as lines:
        run_in_virtual_time(scene())
    assert not [line for line in lines if line["log_level"] in ("error", "critical")]


def test_an_open_with_a_foreign_reply_subject_is_not_performed() -> None:
    async def scene() -> None:
        operations = FakeOperations(replica="r1")
        async with client_server_pair(operations) as pair:
            headers, body = encode(OpenStore(open=store_open(b"x"), inline=b"x"))
            for reply in ("", f"{ROOT}.v1.svc.store", f"{ROOT}._INBOX.p1.>"):
                forge(pair, SUBJECTS.service("store"), dict(headers), body, reply)
            assert (await pair.store(b"mine", "mine")).status == 0
            assert operations.stored == [b"mine"]
            assert pair.denied_subjects() == []

    run_in_virtual_time(scene())


def test_many_dropped_messages_write_few_log_lines() -> None:
    async def scene() -> None:
        async with client_server_pair(FakeOperations(replica="r1")) as pair:
            for _ in range(1000):
                forge(pair, SUBJECTS.service("store"), {}, b"", "")
                forge(pair, SUBJECTS.session("r1-0", "s"), {}, b"", "")
            assert (await pair.store(b"mine", "mine")).status == 0

    with structlog.testing.capture_logs() as lines:
        run_in_virtual_time(scene())
    assert 0 < len([line for line in lines if "dropped" in line["event"]]) < 20
