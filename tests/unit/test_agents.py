"""Agents before they get to Redis: handlers, states, mailboxes, supervisors, and what hosting refuses."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery, signature

import hardening
from hardening import Agent, AgentState, agent, handles, harden, host
from hardening.agents import Mailbox, Supervisor, hosted
from hardening.agents.errors import AgentError, AgentHalted, AgentUnknown, AskFailed, AskTimeout, HandlerUnknown
from hardening.agents.handlers import handler_for
from hardening.core.agent_message import AGENT_TASK
from hardening.core.errors import ConfigError, HardeningError
from hardening.core.scripts.agenting import Failure, Opened, Rule
from hardening.delivery.recipients import Recipient, recipients_of


class Shop(Agent):
    """Sells."""

    name = "shop"

    @handles("sell")
    def sell_one(self, sku: str, *, n: int = 1) -> None:
        """By another name than its method's."""

    @handles
    def close(self) -> None:
        """By its own."""

    def helper(self) -> None:
        """Nobody is told this."""


class Market(Shop):
    """Inherits handlers, and has another of one."""

    @handles("sell")
    def sell_one(self, sku: str, *, n: int = 1, price: int = 0) -> None:
        """Takes more."""


@pytest.fixture
def app() -> Celery:
    """A hardened app whose Redis nobody asks."""
    app = Celery("agents", broker="redis://127.0.0.1:1/0", set_as_current=False)
    return harden(app)


def test_handlers_are_found_by_name_also_those_that_are_inherited() -> None:
    """And nothing else is."""
    assert {name: one.attribute for name, one in Shop.handlers.items()} == {"sell": "sell_one", "close": "close"}
    assert set(Market.handlers) == {"sell", "close"}
    assert "price" in Market.handlers["sell"].signature.parameters
    assert "self" not in Shop.handlers["sell"].signature.parameters


def test_arguments_are_looked_at_before_a_handler_runs() -> None:
    """As Python would bind them."""
    assert handler_for(Shop, "sell", ("x",), {"n": 2}) is Shop.handlers["sell"]
    for args, kwargs in [((), {}), (("x", 2), {}), (("x",), {"m": 2})]:
        with pytest.raises(HandlerUnknown, match=r"agent shop cannot sell: .*; it takes"):
            handler_for(Shop, "sell", args, kwargs)
    with pytest.raises(HandlerUnknown, match="there is no such handler; known: close, sell"):
        handler_for(Shop, "helper", (), {})


@pytest.mark.parametrize("name", ["", "a\nb", 7, "x" * 201])
def test_a_handler_has_a_name(name: Any) -> None:
    """That can be printed."""
    with pytest.raises(ValueError, match="a handler is named"):
        handles(name)


def test_no_two_handlers_have_one_name_and_none_is_a_coroutine() -> None:
    """Told when the class is made."""
    with pytest.raises(ValueError, match="handles 'a' in one and in two"):

        class Double(Agent):
            """One name, two methods."""

            @handles("a")
            def one(self) -> None:
                """First."""

            @handles("a")
            def two(self) -> None:
                """Second."""

    with pytest.raises(ValueError, match="run is a coroutine function, expected a plain one"):

        class Waits(Agent):
            """Would not be awaited."""

            @handles
            async def run(self) -> None:
                """Never."""


@pytest.mark.parametrize("name", ["", "a:b", "a b", ".a", "a.", "ä", "x" * 129, None])
def test_an_agent_has_a_name_that_keys_and_queues_take(app: Celery, name: Any) -> None:
    """Whoever hosts or reaches it is told so."""
    with pytest.raises(ValueError, match="an agent is named"):
        agent(name)
    with pytest.raises(ConfigError, match=r"Nameless\.name: an agent is named"):
        host(app, type("Nameless", (Agent,), {"name": name}))


def test_hosting_is_idempotent_and_registers_one_task(app: Celery) -> None:
    """However many agents there are."""
    other = type("Other", (Agent,), {"name": "other"})
    host(app, Shop)
    steps = set(app.steps["consumer"])
    host(app, Shop, other)
    assert hosted(app) == {"shop": Shop, "other": other}
    assert [name for name in app.tasks if name.startswith("hardening.")] == [AGENT_TASK]
    assert set(app.steps["consumer"]) == steps
    assert hosted(Celery("elsewhere", set_as_current=False)) == {}


def test_hosting_refuses_what_cannot_work(app: Celery) -> None:
    """In one line each."""
    host(app, Shop)

    class Needy(AgentState):
        """Has no default."""

        stock: int

    for cls, said in [
        (Agent, "is no agent, expected a subclass"),
        (Shop(app, None), "is no agent, expected a subclass"),
        (Market, "Market is named 'shop', as is Shop: rename one"),
        (type("N", (Agent,), {"name": "n", "State": Needy}), "N.State needs a default for every field: .*stock"),
        (type("S", (Agent,), {"name": "s", "snapshot_every": 0}), "S.snapshot_every is 0, expected 1 to 1000"),
        (type("S", (Agent,), {"name": "s", "snapshot_every": True}), "S.snapshot_every is True"),
        (type("S", (Agent,), {"name": "s", "snapshot_every": 1001}), "S.snapshot_every is 1001"),
    ]:
        with pytest.raises(ConfigError, match=said):
            host(app, cls)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="is not hardened"):
        host(Celery("soft", set_as_current=False), Shop)
    assert set(hosted(app)) == {"shop"}


def test_where_queues_must_be_declared_those_of_agents_are(app: Celery) -> None:
    """So that ``-Q agent.shop`` works."""
    app.conf.task_create_missing_queues = False
    host(app, Shop)
    app.amqp.queues.select(["agent.shop"])
    assert set(app.amqp.queues.consume_from) == {"agent.shop"}


def test_an_agent_is_a_recipient(app: Celery) -> None:
    """A broadcast takes it; two of a name are one."""
    ref = agent("shop", app=app)
    assert isinstance(ref, Recipient)
    assert (ref.kind, ref.name, ref.queue, str(ref)) == ("agent", "shop", "agent.shop", "agent shop")
    assert ref == agent("shop")
    assert recipients_of([ref, "queue"])[0] is ref
    assert ref.sending(delay=5).sending(expires=9).options == {"delay": 5, "expires": 9}


def test_nothing_is_told_in_a_process_that_runs_tasks_eagerly(app: Celery) -> None:
    """Agents run in workers; what to do instead is said."""
    app.conf.task_always_eager = True
    with pytest.raises(ConfigError, match="cannot be told anything with task_always_eager"):
        agent("shop", app=app).tell("sell", "x")


def test_the_task_runs_in_no_other_way(app: Celery) -> None:
    """What was not taken from a mailbox is told so."""
    host(app, Shop)
    with pytest.raises(AgentError, match="was not told by its mailbox"):
        app.tasks[AGENT_TASK].apply(("sell", "x"), throw=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"bound": 0}, {"bound": True}, {"bound": 1.5}, {"bound": 10**8}, {"when_full": "explode"}, {"block_s": -1},
        {"block_s": 3601},
    ],
)  # fmt: skip
def test_a_mailbox_has_a_bound(wrong: dict[str, Any]) -> None:
    """And says what is wrong with it."""
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        Mailbox(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"strategy": "retry"}, {"max_restarts": -1}, {"max_restarts": True}, {"max_restarts": 1.5}, {"within_s": 0},
        {"base_s": -1}, {"cap_s": float("nan")}, {"within_s": 10**9},
    ],
)  # fmt: skip
def test_a_supervisor_makes_sense(wrong: dict[str, Any]) -> None:
    """Or says what does not."""
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is"):
        Supervisor(**wrong)


def test_a_supervisors_owner_is_an_agent_or_a_signature() -> None:
    """Nothing else can be told."""
    with pytest.raises(TypeError, match="owner is 7, expected the name of an agent, or a signature"):
        Supervisor(owner=7)  # type: ignore[arg-type]
    assert Supervisor(owner=signature("t")).owner == signature("t")


def test_what_the_script_goes_by_is_in_milliseconds() -> None:
    """With a strategy of the script's own where nobody can choose it."""
    supervisor = Supervisor("restart_with_backoff", max_restarts=3, within_s=1.5, base_s=0.0001, cap_s=2)
    assert supervisor.rule() == Rule("restart_with_backoff", 3, 1500, 1, 2000)
    assert supervisor.rule("park") == Rule("park", 3, 1500, 1, 2000)


def test_the_replies_of_the_scripts_are_read() -> None:
    """Each into what it means."""
    assert Opened.parse([-1]) == Opened("refused")
    assert Opened.parse([0]) == Opened("applied")
    assert Opened.parse([1]) == Opened("ready")
    assert Opened.parse([2, b"3 m", b"2", b"{}", b"[1]"]) == Opened("given", "3 m", 2, b"{}", (b"[1]",))
    assert Opened.parse([2, b"0 ", b"", b""]) == Opened("given", "0 ", 0, b"", ())
    assert Failure.parse([-1]) == Failure(is_refused=True)
    assert Failure.parse([b"parked", 6, 0]) == Failure(False, "parked", 6, 0)  # noqa: FBT003


def test_errors_say_what_to_do() -> None:
    """And carry what they know."""
    failed = AskFailed("a", "h", "ValueError", "no")
    assert (str(failed), failed.error_type, failed.error) == ("agent a failed to h: ValueError: no", "ValueError", "no")
    late = AskTimeout("a", "h", 1.5, "r")
    assert (str(late), late.timeout_s) == ("agent a did not answer h within 1.5 s; see receipt r", 1.5)
    assert isinstance(late, TimeoutError)
    assert str(AgentHalted("a", "parked", "E: x")) == "agent a is parked (E: x): celery agents resume a"
    assert str(AgentHalted("a", "paused")) == "agent a is paused: celery agents resume a"
    assert "call hardening.host" in str(AgentUnknown("a"))
    assert all(issubclass(one, HardeningError) for one in (AskFailed, AskTimeout, AgentHalted, AgentUnknown))


def test_what_users_need_is_at_the_top() -> None:
    """Loaded when it is first used."""
    assert (hardening.Agent, hardening.AgentState, hardening.handles) == (Agent, AgentState, handles)
    assert (hardening.agent, hardening.host) == (agent, host)
