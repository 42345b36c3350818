"""Messages for the replicas' subjects, as a proxy's user may publish them, changed in each part.

A recorded session is opened at a service's subject; what follows goes to the subject that the
replica answers with.
"""

import asyncio
import base64
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nats.aio.client import Client

from tests.fuzz.mutation import UNCHANGED, mutate

if TYPE_CHECKING:
    from nats.aio.msg import Msg

ROOT = "DIMSE"
PROXY = "fuzzer"
_PATIENCE = 0.2
_LARGEST = 512 * 1024
_FORGED = 0.1
_REPLIES = (
    *(f"{ROOT}.v1.svc.store", f"{ROOT}.v1.svc.echo", f"{ROOT}.v1.in.a.b", f"{ROOT}.v1.px.a"),
    *(f"{ROOT}._INBOX.another.0", f"{ROOT}._SINBOX.a", "_INBOX.a", "$SYS.REQ.SERVER.PING", "a"),
)
_LAST = ("RESULT", "REJECT", "BUSY", "UNKNOWN", "ABORT", "LEAVING")
_KINDS = (
    *("ECHO", "STORE", "FIND", "DATA", "END", "PROBE", "CANCEL", "CREDIT", "RESUME", "ABORT"),
    *("ACCEPT", "BUSY", "REJECT", "PROGRESS", "RESULT", "LEAVING", "UNKNOWN", "MATCH"),
    *("", "\u2603"),
)
_OFFSETS = ("0", "-1", "1", "999999999999999999", "9" * 30, "x", "", "4194304")
WORDS = (
    *(b"\xc0", b"\xc1", b"\xdf\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"),
    *(b"\x91" * 2000, b"\x81" * 2000, b"\xcf" + b"\xff" * 8, b"\xd3\x80" + b"\x00" * 7),
    *(b"\xcb\x7f\xf8", b"\xc7\x01\x00\x00", b"\xd9\xff", b"\xa0", b"\xff" * 16, b"\x90", b"\x80"),
    b"1.2.840.10008.1.2",
)


@dataclass(frozen=True)
class Message:
    """One message; `subject` is a service's, or empty for the session's.

    `reply` is where it is answered, the player's own inbox if empty.
    """

    subject: str
    headers: dict[str, str]
    body: bytes
    reply: str = ""


def loaded(text: bytes) -> list[Message]:
    """Return a recorded session."""
    lines = map(json.loads, text.decode().splitlines())
    return [
        Message(each["to"], each["headers"], base64.b64decode(each["body"]), each.get("reply", ""))
        for each in lines
    ]


def saved(messages: Sequence[Message]) -> bytes:
    """Return a session as a file of lines."""
    return b"".join(
        json.dumps(
            {
                "to": m.subject,
                "reply": m.reply,
                "headers": m.headers,
                "body": base64.b64encode(m.body).decode(),
            }
        ).encode()
        + b"\n"
        for m in messages
    )


def changed(choices: random.Random, corpus: Sequence[bytes]) -> list[Message]:
    """Return one recorded session with changes in one or two messages, or in their order."""
    session = loaded(choices.choice(corpus))
    if choices.random() < UNCHANGED:
        return _renamed(choices, session)
    if choices.random() < 0.15:
        return [choices.choice(session) for _ in range(choices.randint(1, 20))]
    for _ in range(choices.choice((1, 1, 2))):
        at = choices.randrange(len(session))
        session[at] = _changed(choices, session[at])
    return _renamed(choices, session)


def _changed(choices: random.Random, message: Message) -> Message:
    headers, subject, body = dict(message.headers), message.subject, message.body
    part = choices.random()
    if part < 0.6:
        body = mutate(choices, body, WORDS)[:_LARGEST]
    elif part < 0.75:
        headers["Dimse-Op"] = choices.choice(_KINDS)
    elif part < 0.85:
        headers["Dimse-Offset"] = choices.choice(_OFFSETS)
    elif part < 0.95:
        headers["traceparent"] = choices.choice(("", "00-zz-1-01", "0" * 3000))
    else:
        subject = choices.choice(("", f"{ROOT}.v1.svc.find", f"{ROOT}.v1.svc.x", f"{ROOT}.v1.in.a"))
    reply = choices.choice(_REPLIES) if choices.random() < _FORGED else ""
    return Message(subject, headers, body, reply)


def _renamed(choices: random.Random, session: list[Message]) -> list[Message]:
    """Give the operation an id of its own, else its recorded result answers it."""
    if choices.random() < 0.1:
        return session
    own = b"%036x" % choices.getrandbits(100)
    return [replace(each, body=each.body.replace(OPERATION_ID, own)) for each in session]


OPERATION_ID = b"01890000-0000-7000-8000-000000000000"
"""A part of every recorded open."""


async def play(client: Client, session: Sequence[Message], number: int) -> bytes:
    """Publish a session, wait shortly for its end, and return what was answered."""
    inbox = f"{ROOT}._INBOX.{PROXY}.{number:024x}"
    answers: asyncio.Queue[Msg] = asyncio.Queue()
    subscription = await client.subscribe(inbox, cb=answers.put)
    subject, received, over = "", b"", False
    for message in session:
        to = message.subject or subject or f"{ROOT}.v1.in.nobody.{number:024x}"
        await client.publish(to, message.body, message.reply or inbox, message.headers)
        if subject and not message.subject:
            continue
        if answer := await _answer(answers):
            subject, received = answer.reply or subject, received + answer.data
            over = over or _is_last(answer)
    while not over and (answer := await _answer(answers)):
        received, over = received + answer.data, _is_last(answer)
    await subscription.unsubscribe()
    return received


async def _answer(answers: "asyncio.Queue[Msg]") -> "Msg | None":
    try:
        return await asyncio.wait_for(answers.get(), _PATIENCE)
    except TimeoutError:
        return None


def _is_last(answer: "Msg") -> bool:
    return (answer.headers or {}).get("Dimse-Op", "") in _LAST
