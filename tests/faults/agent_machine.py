"""Any history of agents whose workers die and freeze: they remember, answer and bury what one thread would have.

A machine of Hypothesis drives real workers. They are kept from one history to the next, for a start is dear; that what
one history left behind changes nothing in the next is part of what is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.faults.agent_house import House
from tests.faults.peer_model import ASKED_BY, PEERS, TRAPS, Peers, Said, is_beginning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.rig import Rig

__all__ = ["AgentMachine", "run_machine"]

_HANDLERS = ("note", "echo", "pass_on", "consult", "fail", "refuse")
_WHICH = st.integers(0, 5)
_PEER = st.sampled_from(PEERS)


@st.composite
def _said(draw: st.DrawFn, traps: Sequence[str] = ("",)) -> Said:
    peer, handler = draw(_PEER), draw(st.sampled_from(_HANDLERS))
    others = ASKED_BY[peer] if handler == "consult" else PEERS.replace(peer, "")
    if not others:
        handler, others = "note", peer
    return Said(peer, handler, draw(st.sampled_from(others)), draw(st.sampled_from(traps)))


class AgentMachine(RuleBasedStateMachine):
    """The model is told the same as the agents, in the same order.

    No rule depends on how the workers are: what they do in which instant is nothing that Hypothesis can repeat.
    """

    house: ClassVar[House]

    def __init__(self) -> None:
        super().__init__()
        self.model = Peers()
        self.paused: set[str] = set()
        self.house.enter()

    # -- what agents are told

    @initialize(series=st.lists(_said(), min_size=6, max_size=12), trapped=_said(TRAPS))
    def begin(self, series: list[Said], trapped: Said) -> None:
        """Something to do, amidst which somebody dies."""
        self.tell([*series[:3], trapped, *series[3:]])

    @rule(series=st.lists(_said(), min_size=1, max_size=12))
    def tell(self, series: list[Said]) -> None:
        """One message, or a burst."""
        for said in series:
            number = self.house.number()
            self.model.run(said, number, is_asked=False)
            self.house.tell(said, number)

    @rule(trapped=_said(TRAPS))
    def tell_deadly(self, trapped: Said) -> None:
        """One of which a process dies, or a worker freezes."""
        self.tell([trapped])

    @rule(said=_said(("", "", *TRAPS)))
    def ask(self, said: Said) -> None:
        """The answer is the model's. One that is paused answers nobody, and does it later."""
        number = self.house.number()
        expected = self.model.run(said, number, is_asked=True)
        answer = self.house.ask_outside(said, number)
        assert answer == ("paused" if said.peer in self.paused else expected)

    # -- what becomes of workers

    @rule(which=_WHICH)
    def kill(self, which: int) -> None:
        """Anyone, at any time."""
        self.house.kill(which)

    @rule(which=_WHICH)
    def freeze(self, which: int) -> None:
        """Anyone, until the end, or a thaw."""
        self.house.freeze(which)

    @rule()
    def thaw(self) -> None:
        """All that are frozen wake."""
        self.house.thaw()

    @rule()
    def start(self) -> None:
        """One more worker."""
        self.house.start_another()

    # -- what operators do

    @rule(peer=_PEER)
    def pause(self, peer: str) -> None:
        """An agent takes nothing any more."""
        assert self.house.ref(peer).pause() == (peer not in self.paused)
        self.paused.add(peer)

    @rule(peer=_PEER)
    def resume(self, peer: str) -> None:
        """It goes on."""
        assert self.house.ref(peer).resume() == (peer in self.paused)
        self.paused.discard(peer)

    # -- the law

    @invariant()
    def nothing_is_done_twice_or_out_of_turn(self) -> None:
        """What was committed so far is a beginning of what is to be; of a mailbox one message is in flight."""
        assert max(self.house.held().values(), default=0) <= 1
        for peer in PEERS:
            state = self.house.committed(peer)
            assert state is None or is_beginning(state, self.model.states[peer]), (peer, state)

    def teardown(self) -> None:
        """All of it is done, and once."""
        reports = self.house.drain()
        assert reports == {peer: self.model.states[peer] for peer in PEERS}
        for peer in PEERS[:-1]:  # the last one keeps a journal
            assert (self.house.committed(peer) or self.model.states[peer]) == reports[peer]
        assert self.house.buried() == sorted(self.model.buried)


def run_machine(rig: Rig, *, examples: int, steps: int, chance: int | None = None, kills: int = 0) -> House:
    """So many histories, and more of them until so many workers and pool processes were killed.

    Args:
        rig: for the workers.
        examples: how many histories there are at least.
        steps: how long each is.
        chance: what they are made from; None: always the same.
        kills: how many kills there are at least.

    Raises:
        AssertionError: a history has gone wrong. It is told step by step.
    """
    house = House(rig)
    machine = type("AgentMachine", (AgentMachine,), {"house": house})
    bounded = settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=chance is None,
        database=None,
        # Real workers: no history runs twice in the same way. So what failed is told, and not made smaller by chance.
        phases=[Phase.generate],
        # A step lasts as long as it takes to miss a lease and to start a worker, on whatever machine this is.
        deadline=None,
        # The clock of this check runs while workers have both cores.
        suppress_health_check=[HealthCheck.too_slow],
    )
    try:
        run_state_machine_as_test(machine if chance is None else seed(chance)(machine), settings=bounded)
    finally:
        house.end()
    return house
