"""The upper layer's state machine: table 9-10 of PS3.8 as data, and the effects of each action.

An event goes in, effects come out; the caller carries them out in order. It covers both roles,
does no I/O, has no clock, and does not inspect the content of PDUs.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum, auto


class State(IntEnum):
    """States of an association (PS3.8 tables 9-1 to 9-5)."""

    __hash__ = int.__hash__  # that of an Enum is a Python function

    IDLE = 1
    AWAITING_ASSOCIATE_RQ = 2
    AWAITING_LOCAL_ANSWER = 3
    AWAITING_CONNECTION = 4
    AWAITING_ASSOCIATE_ANSWER = 5
    ESTABLISHED = 6
    AWAITING_RELEASE_RP = 7
    AWAITING_LOCAL_RELEASE = 8
    COLLISION_REQUESTOR_LOCAL = 9
    COLLISION_ACCEPTOR_PEER = 10
    COLLISION_REQUESTOR_PEER = 11
    COLLISION_ACCEPTOR_LOCAL = 12
    AWAITING_CLOSE = 13


class Event(IntEnum):
    """Events by their number in table 9-10; REQUEST and RESPONSE come from the local user."""

    __hash__ = int.__hash__

    ASSOCIATE_REQUEST = 1
    CONNECTION_CONFIRMED = 2
    ASSOCIATE_AC = 3
    ASSOCIATE_RJ = 4
    CONNECTION_INDICATED = 5
    ASSOCIATE_RQ = 6
    ACCEPT_RESPONSE = 7
    REJECT_RESPONSE = 8
    P_DATA_REQUEST = 9
    P_DATA_TF = 10
    RELEASE_REQUEST = 11
    RELEASE_RQ = 12
    RELEASE_RP = 13
    RELEASE_RESPONSE = 14
    ABORT_REQUEST = 15
    ABORT = 16
    CONNECTION_CLOSED = 17
    ARTIM_EXPIRED = 18
    INVALID_PDU = 19


class Effect(Enum):
    """An effect to carry out; INDICATE and CONFIRM notify the local user."""

    __hash__ = object.__hash__  # that of an Enum is a Python function

    CONNECT = auto()
    SEND_ASSOCIATE_RQ = auto()
    SEND_ASSOCIATE_AC = auto()
    SEND_ASSOCIATE_RJ = auto()
    SEND_P_DATA = auto()
    SEND_RELEASE_RQ = auto()
    SEND_RELEASE_RP = auto()
    SEND_ABORT_AS_USER = auto()
    SEND_ABORT_AS_PROVIDER = auto()
    INDICATE_ASSOCIATE = auto()
    CONFIRM_ACCEPTED = auto()
    CONFIRM_REJECTED = auto()
    INDICATE_P_DATA = auto()
    INDICATE_RELEASE = auto()
    CONFIRM_RELEASE = auto()
    INDICATE_ABORT = auto()
    INDICATE_PROVIDER_ABORT = auto()
    START_ARTIM = auto()
    STOP_ARTIM = auto()
    CLOSE = auto()


class Role(Enum):
    """The role of this side: the requestor opens the association."""

    REQUESTOR = auto()
    ACCEPTOR = auto()


@dataclass(frozen=True, slots=True)
class Action:
    """One action of tables 9-6 to 9-9."""

    effects: tuple[Effect, ...]
    next_state: State


class ImpossibleEvent(Exception):
    """An empty cell of table 9-10: the event is not possible in this state."""


def _action(next_state: int, *effects: Effect) -> Action:
    return Action(effects, State(next_state))


ACTIONS = {
    "AE-1": _action(4, Effect.CONNECT),
    "AE-2": _action(5, Effect.SEND_ASSOCIATE_RQ),
    "AE-3": _action(6, Effect.CONFIRM_ACCEPTED),
    "AE-4": _action(1, Effect.CONFIRM_REJECTED, Effect.CLOSE),
    "AE-5": _action(2, Effect.START_ARTIM),
    "AE-6": _action(3, Effect.STOP_ARTIM, Effect.INDICATE_ASSOCIATE),
    "AE-7": _action(6, Effect.SEND_ASSOCIATE_AC),
    "AE-8": _action(13, Effect.SEND_ASSOCIATE_RJ, Effect.START_ARTIM),
    "DT-1": _action(6, Effect.SEND_P_DATA),
    "DT-2": _action(6, Effect.INDICATE_P_DATA),
    "AR-1": _action(7, Effect.SEND_RELEASE_RQ),
    "AR-2": _action(8, Effect.INDICATE_RELEASE),
    "AR-3": _action(1, Effect.CONFIRM_RELEASE, Effect.CLOSE),
    "AR-4": _action(13, Effect.SEND_RELEASE_RP, Effect.START_ARTIM),
    "AR-5": _action(1, Effect.STOP_ARTIM),
    "AR-6": _action(7, Effect.INDICATE_P_DATA),
    "AR-7": _action(8, Effect.SEND_P_DATA),
    "AR-8": _action(10, Effect.INDICATE_RELEASE),
    "AR-9": _action(11, Effect.SEND_RELEASE_RP),
    "AR-10": _action(12, Effect.CONFIRM_RELEASE),
    "AA-1": _action(13, Effect.SEND_ABORT_AS_USER, Effect.START_ARTIM),
    "AA-2": _action(1, Effect.STOP_ARTIM, Effect.CLOSE),
    "AA-3": _action(1, Effect.INDICATE_ABORT, Effect.CLOSE),
    "AA-4": _action(1, Effect.INDICATE_PROVIDER_ABORT),
    "AA-5": _action(1, Effect.STOP_ARTIM),
    "AA-6": _action(13),
    "AA-7": _action(13, Effect.SEND_ABORT_AS_PROVIDER),
    "AA-8": _action(
        13, Effect.SEND_ABORT_AS_PROVIDER, Effect.INDICATE_PROVIDER_ABORT, Effect.START_ARTIM
    ),
}
_NOT_ACCEPTABLE = _action(
    13, Effect.STOP_ARTIM, Effect.SEND_ASSOCIATE_RJ, Effect.START_ARTIM
)  # AE-6, second half: the provider itself rejects
_COLLISION_AS_REQUESTOR = _action(9, Effect.INDICATE_RELEASE)  # AR-8, first half

# Rows are events, columns the states 1 to 13; a dot is an empty cell.
_TABLE_9_10 = """
 1 AE-1 .    .    .    .    .    .    .    .    .     .    .    .
 2 .    .    .    AE-2 .    .    .    .    .    .     .    .    .
 3 .    AA-1 AA-8 .    AE-3 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
 4 .    AA-1 AA-8 .    AE-4 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
 5 AE-5 .    .    .    .    .    .    .    .    .     .    .    .
 6 .    AE-6 AA-8 .    AA-8 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-7
 7 .    .    AE-7 .    .    .    .    .    .    .     .    .    .
 8 .    .    AE-8 .    .    .    .    .    .    .     .    .    .
 9 .    .    .    .    .    DT-1 .    AR-7 .    .     .    .    .
10 .    AA-1 AA-8 .    AA-8 DT-2 AR-6 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
11 .    .    .    .    .    AR-1 .    .    .    .     .    .    .
12 .    AA-1 AA-8 .    AA-8 AR-2 AR-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-6
13 .    AA-1 AA-8 .    AA-8 AA-8 AR-3 AA-8 AA-8 AR-10 AR-3 AA-8 AA-6
14 .    .    .    .    .    .    .    AR-4 AR-9 .     .    AR-4 .
15 .    .    AA-1 AA-2 AA-1 AA-1 AA-1 AA-1 AA-1 AA-1  AA-1 AA-1 .
16 .    AA-2 AA-3 .    AA-3 AA-3 AA-3 AA-3 AA-3 AA-3  AA-3 AA-3 AA-2
17 .    AA-5 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4 AA-4  AA-4 AA-4 AR-5
18 .    AA-2 .    .    .    .    .    .    .    .     .    .    AA-2
19 .    AA-1 AA-8 .    AA-8 AA-8 AA-8 AA-8 AA-8 AA-8  AA-8 AA-8 AA-7
"""


def _read(table: str) -> dict[tuple[State, Event], str]:
    cells: dict[tuple[State, Event], str] = {}
    for line in table.strip().splitlines():
        event, *actions = line.split()
        for state, action in zip(State, actions, strict=True):
            if action != ".":
                cells[state, Event(int(event))] = action
    return cells


TRANSITIONS = _read(_TABLE_9_10)


class Machine:
    """Hold the state of one association and apply events to it."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self.state = State.IDLE

    def allows(self, event: Event) -> bool:
        """Return whether table 9-10 has an action for this event in the current state."""
        return (self.state, event) in TRANSITIONS

    def on(self, event: Event, *, acceptable: bool = True) -> tuple[Effect, ...]:
        """Apply an event and return its effects in order. Raises ImpossibleEvent for an empty cell.

        The state changes before the caller carries out the effects, because these can raise
        further events. `acceptable` applies to an A-ASSOCIATE-RQ only: whether the provider itself
        accepts it (AE-6).
        """
        name = TRANSITIONS.get((self.state, event))
        if name is None:
            raise ImpossibleEvent(f"{event.name} in {self.state.name}")
        action = self._action(name, acceptable)
        self.state = action.next_state
        return action.effects

    def _action(self, name: str, acceptable: bool) -> Action:
        if name == "AE-6" and not acceptable:
            return _NOT_ACCEPTABLE
        if name == "AR-8" and self.role is Role.REQUESTOR:
            return _COLLISION_AS_REQUESTOR
        return ACTIONS[name]
