"""Any history of agents whose workers die and freeze: they remember, answer and bury what one thread would have.

A machine of Hypothesis drives real workers. They are kept from one history to the next, for a start is dear; that what
one history left behind changes nothing in the next is part of what is shown.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, ClassVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.faults.agent_house import House
from tests.faults.peer_model import ASKED_BY, PEERS, TRAPS, Peers, Said, is_beginning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.rig import Rig

__all__ = ["AgentMachine", "run_machine", "run_until"]

_HANDLERS = ("note", "echo", "pass_on", "consult", "fail", "refuse")
_BATCH, _STEPS = 5, 25
_PEER = st.sampled_from(PEERS)


@st.composite
def _said(draw: st.DrawFn, traps: Sequence[str] = ("",)) -> Said:
    peer, handler = draw(_PEER), draw(st.sampled_from(_HANDLERS))
    others = ASKED_BY[peer] if handler == "consult" else PEERS.replace(peer, "")
    if not others:
        handler, others = "note", peer
    return Said(peer, handler, draw(st.sampled_from(others)), draw(st.sampled_from(traps)))


_SERIES = st.lists(_said(), min_size=1, max_size=12)


class AgentMachine(RuleBasedStateMachine):
    """The model is told the same as the agents, in the same order.

    No rule depends on how the workers are: what they do in which instant is nothing that Hypothesis can repeat.
    """

    house: ClassVar[House]

    def __init__(self) -> None:
        super().__init__()
        self.model = Peers()
        self.paused: dict[str, int] = {}
        self.house.enter()

    # -- what agents are told

    @initialize(series=st.lists(_said(), min_size=6, max_size=12), trapped=_said(TRAPS))
    def begin(self, series: list[Said], trapped: Said) -> None:
        """Something to do, amidst which somebody dies."""
        self.tell([*series[:3], trapped, *series[3:]])

    @rule(series=_SERIES)
    def tell(self, series: list[Said]) -> None:
        """One message, or a burst."""
        for said in series:
            number = self.house.number()
            self.model.run(said, number, is_asked=False)
            self.house.tell(said, number)

    @rule(said=_said(("", "", "", "", *TRAPS)))
    def ask(self, said: Said) -> None:
        """The answer is the model's. One that is paused answers nobody, and does it later."""
        for other in ASKED_BY[said.peer]:  # it may be waiting for one of those
            self.halt(other, is_paused=False)
        number = self.house.number()
        expected = self.model.run(said, number, is_asked=True)
        answer = self.house.ask_outside(said, number)
        assert answer == ("paused" if said.peer in self.paused else expected)

    # -- what becomes of workers, and what operators do

    @rule(series=_SERIES, fate=st.sampled_from(["trap", "kill", "freeze", "thaw", "start"]), trapped=_said(TRAPS))
    def befall(self, series: list[Said], fate: str, trapped: Said) -> None:
        """While there is something to do: to anyone, at any time. Who is frozen stays so until the end, or a thaw."""
        self.tell([*series, trapped] if fate == "trap" else series)
        if fate != "trap":
            getattr(self.house, fate)()

    @rule(peer=_PEER, is_paused=st.booleans())
    def halt(self, peer: str, *, is_paused: bool) -> None:
        """An agent takes nothing any more, or goes on."""
        ref = self.house.ref(peer)
        assert (ref.pause() if is_paused else ref.resume()) == (is_paused != (peer in self.paused))
        self.paused.pop(peer, None)
        if is_paused:
            self.paused[peer] = ref.status().version

    # -- the law

    @invariant()
    def nothing_is_done_twice_or_out_of_turn(self) -> None:
        """What was committed so far is a beginning of what is to be; of a mailbox one message is in flight."""
        assert max(self.house.held().values(), default=0) <= 1
        for peer in PEERS:
            state = self.house.committed(peer)
            assert state is None or is_beginning(state, self.model.states[peer]), (peer, state)

    @invariant()
    def one_that_is_paused_does_nothing(self) -> None:
        """But what it was doing."""
        for peer, version in self.paused.items():
            assert self.house.ref(peer).status().version <= version + 1

    def teardown(self) -> None:
        """All of it is done, and once."""
        reports = self.house.drain()
        assert reports == {peer: self.model.states[peer] for peer in PEERS}
        for peer in PEERS[:-1]:  # the last one keeps a journal
            assert (self.house.committed(peer) or self.model.states[peer]) == reports[peer]
        assert self.house.buried() == sorted(self.model.buried)


def run_machine(house: House, *, examples: int, steps: int, chance: int) -> None:
    """So many histories.

    Args:
        house: where they happen.
        examples: how many.
        steps: how long each is.
        chance: what they are made from.

    Raises:
        AssertionError: a history has gone wrong. It is told step by step.
        hypothesis.errors.FlakyFailure: likewise, and it went well when it was run again.
    """
    bounded = settings(
        max_examples=examples,
        stateful_step_count=steps,
        database=None,
        # Real workers: no history runs twice in the same way. So what failed is told, and not made smaller by chance;
        # where it does not fail again, as FlakyFailure, which is none the less a fault.
        phases=[Phase.generate],
        # A step lasts as long as it takes to miss a lease and to start a worker, on whatever machine this is.
        deadline=None,
        # The clock of this check runs while workers have both cores.
        suppress_health_check=[HealthCheck.too_slow],
    )
    machine = seed(chance)(type("AgentMachine", (AgentMachine,), {"house": house}))
    run_state_machine_as_test(machine, settings=bounded)


def run_until(rig: Rig, kills: int, chance: int) -> str:
    """Histories until so many processes were killed; returns what happened.

    Raises:
        AssertionError: a history has gone wrong. It is told step by step.
        hypothesis.errors.FlakyFailure: likewise, and it went well when it was run again.
    """
    house, batches = House(rig, pools=("threads", "prefork"), spared=0), itertools.count(chance * 1000)
    try:
        while house.kills < kills:
            run_machine(house, examples=_BATCH, steps=_STEPS, chance=next(batches))
    finally:
        house.end()
    return f"{house.kills} killed, {dict(house.count)}"
