import pytest

from dimse_ingestion.transport.protocol.subjects import (
    SERVICES,
    Subjects,
    ingestion_permissions,
    last_token,
    matches,
    new_session,
    proxy_permissions,
    validate_root,
    validate_token,
)


@pytest.mark.parametrize("token", ["", "a.b", "*", ">", "a b", "ä", "x" * 65])
def test_an_invalid_token_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="can't stand in a subject"):
        validate_token(token, "proxy id")


@pytest.mark.parametrize("root", ["", ".", "a.", "a..b", "DIMSE.>"])
def test_an_invalid_root_is_refused(root: str) -> None:
    with pytest.raises(ValueError, match="subject root"):
        validate_root(root)
    with pytest.raises(ValueError, match="subject root"):
        Subjects(root)


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.b.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.*", "a", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        ("a.>", "a.>", True),
        ("a.*", "a.>", False),
        ("*.b", "a.b", True),
    ],
)
def test_wildcards(pattern: str, subject: str, *, expected: bool) -> None:
    assert matches(pattern, subject) is expected


def test_names_are_as_the_protocol_says() -> None:
    subjects = Subjects("DIMSE")
    assert subjects.service("store") == "DIMSE.v1.svc.store"
    assert subjects.replica("r1") == "DIMSE.v1.in.r1.>"
    assert subjects.session("r1", "s1") == "DIMSE.v1.in.r1.s1"
    assert subjects.inboxes("p1") == "DIMSE._INBOX.p1.>"
    assert last_token(subjects.inbox("p1", "s1")) == "s1"


def test_a_session_cannot_be_guessed() -> None:
    assert len({new_session() for _ in range(1000)}) == 1000
    assert len(new_session()) == 96 // 4


def test_each_user_has_its_permissions_and_none_in_another_space() -> None:
    subjects, proxy, ingestion = (
        Subjects("A"),
        proxy_permissions("A", "p1"),
        ingestion_permissions("A"),
    )
    for service in SERVICES:
        assert proxy.may_publish(subjects.service(service))
        assert ingestion.may_subscribe(subjects.service(service), "svc")
        assert not ingestion.may_subscribe(subjects.service(service))
        assert not proxy.may_subscribe(subjects.service(service), "svc")
    assert proxy.may_subscribe(subjects.inboxes("p1"))
    assert not proxy.may_subscribe(subjects.inboxes("p2"))
    assert not ingestion.may_subscribe(subjects.inboxes("p1"))
    assert ingestion.may_publish(subjects.inbox("p2", "s"))
    other = Subjects("B")
    for each in (proxy, ingestion):
        assert not each.may_publish(other.session("r", "s"))
        assert not each.may_subscribe(other.replica("r"))


@pytest.mark.parametrize(
    ("subject", "inbox", "session"),
    [
        ("A.b._INBOX.p1.s-1", True, False),
        ("A.b.v1.in.r1.s1", False, True),
        ("A.b._INBOX.p1", False, False),
        ("A.b._INBOX.p1.process.s", True, False),
        ("A.b._INBOX.p1.s.t.u", False, False),
        ("A.b.v1.in.r1.s1.t", False, False),
        ("A.b._INBOX.p1.>", False, False),
        ("A.b._INBOX.*.s", False, False),
        ("A.b._INBOX.p1.", False, False),
        ("A.b._INBOX.p1.s\n", False, False),
        ("A.b._INBOX.p1." + "s" * 65, False, False),
        ("A.b.v1.svc.store", False, False),
        ("B._INBOX.p1.s1", False, False),
        ("X.A.b._INBOX.p1.s1", False, False),
        ("", False, False),
    ],
)
def test_only_inboxes_and_sessions_are_valid_reply_subjects(
    subject: str, inbox: bool, session: bool
) -> None:
    subjects = Subjects("A.b")
    assert (subjects.is_inbox(subject), subjects.is_session(subject)) == (inbox, session)


def test_the_inboxes_of_a_process_are_within_its_proxys_and_no_other_processs() -> None:
    subjects = Subjects("R")
    inbox = subjects.inbox("ward7", "s1", "w1")
    assert inbox == "R._INBOX.ward7.w1.s1"
    assert subjects.is_inbox(inbox)
    assert matches(subjects.inboxes("ward7", "w1"), inbox)
    assert not matches(subjects.inboxes("ward7", "w2"), inbox)
    assert proxy_permissions("R", "ward7").may_subscribe(subjects.inboxes("ward7", "w1"))
    assert ingestion_permissions("R").may_publish(inbox)
