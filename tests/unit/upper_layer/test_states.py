import pytest
from pynetdicom.fsm import ACTIONS as THEIR_ACTIONS
from pynetdicom.fsm import TRANSITION_TABLE

from dimse_ingestion.upper_layer.states import (
    ACTIONS,
    TRANSITIONS,
    Effect,
    Event,
    ImpossibleEvent,
    Machine,
    Role,
    State,
)

# PS3.8 tables 9-6 to 9-9, "Next state" of each action, where it is one.
NEXT_STATE = {
    "AE-1": 4, "AE-2": 5, "AE-3": 6, "AE-4": 1, "AE-5": 2, "AE-6": 3, "AE-7": 6, "AE-8": 13,
    "DT-1": 6, "DT-2": 6,
    "AR-1": 7, "AR-2": 8, "AR-3": 1, "AR-4": 13, "AR-5": 1, "AR-6": 7, "AR-7": 8, "AR-8": 10,
    "AR-9": 11, "AR-10": 12,
    "AA-1": 13, "AA-2": 1, "AA-3": 1, "AA-4": 1, "AA-5": 1, "AA-6": 13, "AA-7": 13, "AA-8": 13,
}  # fmt: skip


def machine(state: State, role: Role = Role.ACCEPTOR) -> Machine:
    made = Machine(role)
    made.state = state
    return made


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
def test_every_cell_is_the_standards(state: State, event: Event) -> None:
    theirs = TRANSITION_TABLE.get((f"Evt{event.value}", f"Sta{state.value}"))
    assert TRANSITIONS.get((state, event)) == theirs
    assert machine(state).allows(event) is (theirs is not None)


def test_every_action_of_the_standard_is_there_and_used() -> None:
    assert set(ACTIONS) == set(NEXT_STATE) == set(THEIR_ACTIONS) == set(TRANSITIONS.values())


@pytest.mark.parametrize("name", NEXT_STATE)
def test_an_action_ends_in_its_next_state(name: str) -> None:
    state, event = next(cell for cell, action in TRANSITIONS.items() if action == name)
    moving = machine(state)
    assert moving.on(event) == ACTIONS[name].effects
    assert moving.state == NEXT_STATE[name]


def test_an_empty_cell_changes_nothing() -> None:
    idle = machine(State.IDLE)
    with pytest.raises(ImpossibleEvent):
        idle.on(Event.P_DATA_REQUEST)
    assert idle.state is State.IDLE


def test_a_proposal_the_provider_refuses_is_answered_at_once() -> None:
    waiting = machine(State.AWAITING_ASSOCIATE_RQ)
    effects = waiting.on(Event.ASSOCIATE_RQ, acceptable=False)
    assert effects == (Effect.STOP_ARTIM, Effect.SEND_ASSOCIATE_RJ, Effect.START_ARTIM)
    assert waiting.state is State.AWAITING_CLOSE


SENT = {
    Effect.SEND_ASSOCIATE_RQ: Event.ASSOCIATE_RQ,
    Effect.SEND_ASSOCIATE_AC: Event.ASSOCIATE_AC,
    Effect.SEND_ASSOCIATE_RJ: Event.ASSOCIATE_RJ,
    Effect.SEND_P_DATA: Event.P_DATA_TF,
    Effect.SEND_RELEASE_RQ: Event.RELEASE_RQ,
    Effect.SEND_RELEASE_RP: Event.RELEASE_RP,
    Effect.SEND_ABORT_AS_USER: Event.ABORT,
    Effect.SEND_ABORT_AS_PROVIDER: Event.ABORT,
    Effect.CLOSE: Event.CONNECTION_CLOSED,
}


class Pair:
    """A requestor and an acceptor whose PDUs wait on the way until `delivered`."""

    def __init__(self) -> None:
        self.ends = {role: Machine(role) for role in Role}
        self.on_the_way: list[tuple[Role, Event]] = []
        self.effects: list[tuple[Role, Effect]] = []

    def on(self, role: Role, event: Event) -> None:
        for effect in self.ends[role].on(event):
            self.effects.append((role, effect))
            other = Role.ACCEPTOR if role is Role.REQUESTOR else Role.REQUESTOR
            if effect is Effect.CONNECT:
                self.on_the_way += [(other, Event.CONNECTION_INDICATED)]
                self.on_the_way += [(role, Event.CONNECTION_CONFIRMED)]
            elif effect in SENT:
                self.on_the_way.append((other, SENT[effect]))

    def deliver(self) -> None:
        while self.on_the_way:
            self.on(*self.on_the_way.pop(0))

    def established(self) -> "Pair":
        self.on(Role.REQUESTOR, Event.ASSOCIATE_REQUEST)
        self.deliver()
        self.on(Role.ACCEPTOR, Event.ACCEPT_RESPONSE)
        self.deliver()
        assert self.states == (State.ESTABLISHED, State.ESTABLISHED)
        return self

    @property
    def states(self) -> tuple[State, State]:
        return self.ends[Role.REQUESTOR].state, self.ends[Role.ACCEPTOR].state


def test_both_ends_associate_exchange_data_and_release() -> None:
    pair = Pair().established()
    pair.on(Role.REQUESTOR, Event.P_DATA_REQUEST)
    pair.deliver()
    pair.on(Role.REQUESTOR, Event.RELEASE_REQUEST)
    pair.deliver()
    assert pair.states == (State.AWAITING_RELEASE_RP, State.AWAITING_LOCAL_RELEASE)
    pair.on(Role.ACCEPTOR, Event.P_DATA_REQUEST)
    pair.on(Role.ACCEPTOR, Event.RELEASE_RESPONSE)
    pair.deliver()
    assert pair.states == (State.IDLE, State.IDLE)
    assert (Role.REQUESTOR, Effect.CONFIRM_RELEASE) in pair.effects


def test_a_rejection_closes_both_ends() -> None:
    pair = Pair()
    pair.on(Role.REQUESTOR, Event.ASSOCIATE_REQUEST)
    pair.deliver()
    pair.on(Role.ACCEPTOR, Event.REJECT_RESPONSE)
    pair.deliver()
    assert pair.states == (State.IDLE, State.IDLE)


def test_a_release_collision_ends_well_for_both() -> None:
    pair = Pair().established()
    pair.on(Role.REQUESTOR, Event.RELEASE_REQUEST)
    pair.on(Role.ACCEPTOR, Event.RELEASE_REQUEST)
    pair.deliver()
    assert pair.states == (State.COLLISION_REQUESTOR_LOCAL, State.COLLISION_ACCEPTOR_PEER)
    pair.on(Role.REQUESTOR, Event.RELEASE_RESPONSE)
    pair.deliver()
    pair.on(Role.ACCEPTOR, Event.RELEASE_RESPONSE)
    pair.deliver()
    assert pair.states == (State.IDLE, State.IDLE)


@pytest.mark.parametrize("role", Role)
def test_an_abort_by_either_end_closes_both(role: Role) -> None:
    pair = Pair().established()
    pair.on(role, Event.ABORT_REQUEST)
    pair.deliver()
    assert pair.states == (State.IDLE, State.IDLE)
