"""A coordinator and two performers, each run by a worker that is played."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from hardening import AgentState, agent, handles, host
from hardening.core.scripts.broadcasting import consume
from hardening.core.scripts.mailing import found
from tests.eventually import eventually
from tests.integration.agent_player import Player
from workers.coordinator_agent import CoordinatorAgent
from workers.performer import LATER, Performer, StepFailed, StepOrder

if TYPE_CHECKING:
    from celery import Celery

    from hardening.delivery.receipt import Receipt

__all__ = ["Hand", "Stage", "steps"]


class Hand(Performer):
    """Can do some things, and fail at others."""

    class State(AgentState):
        """What it remembers."""

        done: list[Any] = Field(default_factory=list)
        cancelled: list[Any] = Field(default_factory=list)
        ended: list[Any] = Field(default_factory=list)
        orders: list[dict[str, Any]] = Field(default_factory=list)

    #: Step -> what goes wrong with it here.
    wrong: ClassVar[dict[str, str]] = {}

    def perform_work(self, *args: Any, **kwargs: Any) -> Any:
        """Says what it was given."""
        key = self.order.key.partition("/")[2]
        self.state.done.append(key)
        wrong = self.wrong.get(key)
        if wrong == "raise":
            raise ZeroDivisionError
        if wrong == "fail":
            self.tell_self("perform", {})
            raise StepFailed("no luck")
        if wrong == "later":
            self.state.orders.append(self.order.model_dump())
            return LATER
        return "x" * 5000 if wrong == "large" else [list(args), kwargs, self.order.results]

    @handles
    def go_ahead(self) -> None:
        """Does what was left for later."""
        for order in self.state.orders:
            self.finish(StepOrder.model_validate(order), "at last")
        self.state.orders.clear()

    @handles
    def workflow_ended(self, workflow: dict[str, Any]) -> None:
        """Is notified."""
        self.state.ended.append([workflow["id"], workflow["status"]])

    def on_cancel(self, order: StepOrder, *, was_begun: bool) -> None:
        """Remembers it."""
        self.state.cancelled.append([order.step, order.attempt, was_begun])


def steps(text: str, **more: Any) -> dict[str, Any]:
    """Steps such as ``a b<a c<a,b``, which are all work."""
    found_steps = {}
    for part in text.split():
        name, _, after = part.partition("<")
        found_steps[name] = {"do": "work", "after": after.split(",") if after else [], **more}
    return found_steps


class Stage:
    """All of them.

    Args:
        app: hosts them.
        prefix: ends their names.
        wrong: by performer, what goes wrong with which step.
        tick_s: of the coordinator.
    """

    def __init__(self, app: Celery, prefix: str, *, tick_s: float = 500.0, **wrong: dict[str, str]) -> None:
        self.app = app
        self.prefix = prefix
        boss: Any = type("Boss", (CoordinatorAgent,), {"name": self.name("boss"), "tick_s": tick_s})
        hands: list[Any] = [
            type("Hand", (Hand,), {"name": self.name(role), "coordinator": boss.name, "wrong": wrong.get(role, {})})
            for role in ("left", "right")
        ]
        host(app, boss, *hands)
        self.players = {role: self.play(role) for role in ("boss", "left", "right")}
        for hand in hands:
            hand.enlist(app)
        self.settle("boss")

    def name(self, role: str) -> str:
        """Of an agent."""
        return f"{role}.{self.prefix}"

    def play(self, role: str, consumer: str = "1") -> Player:
        """A worker for an agent."""
        player = Player(self.app, self.name(role), f"{role}-{consumer}")
        found(player.keys, player.agent, 100).run(player.client)
        consume(player.keys, player.consumer, [f"agent.{player.agent}"]).run(player.client)
        return player

    def die(self, role: str) -> None:
        """Its worker does."""
        self.players[role].die()

    def settle(self, *roles: str) -> None:
        """These agents do all that they are told, and all that follows."""
        chosen = [self.players[role] for role in roles or self.players]
        while any(player.handle_all() for player in chosen):
            pass

    def tick(self) -> None:
        """What is due some time is due now; the coordinator alone acts."""
        player = self.players["boss"]
        for one in player.client.zrange(player.keys.scheduled, 0, -1):
            player.client.zadd(player.keys.scheduled, {one: 1}, xx=True)
        self.settle("boss")

    def ask(self, handler: str, *args: Any) -> Any:
        """Asks the coordinator."""
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(agent(self.name("boss"), app=self.app).ask, handler, *args, timeout=20)
            eventually(lambda: self.players["boss"].handle_all() or asked.done())
            return asked.result()

    def tell(self, role: str, handler: str, *args: Any) -> Receipt:
        """Tells an agent."""
        return agent(self.name(role), app=self.app).tell(handler, *args)

    def start(self, text: str, more: dict[str, Any] | None = None, **each: Any) -> None:
        """Starts the workflow ``w``."""
        assert self.ask("start", {"id": "w", "steps": steps(text, **each), **(more or {})}) == "w"

    def state(self, role: str) -> Any:
        """What an agent remembers."""
        return self.players[role].state() or {}

    def workflow(self) -> Any:
        """The workflow, as the coordinator has it."""
        return self.state("boss")["workflows"]["w"]

    def attempts(self, step: str) -> list[tuple[str, str]]:
        """Who was given a step, and what became of that."""
        return [(one["agent"].partition(".")[0], one["state"]) for one in self.workflow()["steps"][step]["attempts"]]
