"""Breakers in one process: what users write, what it costs, and what happens when Redis is away."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.exceptions import Ignore, Reject, Retry

from hardening import Breaker, CircuitOpen, harden
from hardening.breaker.circuits import circuits_of
from hardening.breaker.verdict import Verdict
from hardening.core.scripts import breaking
from hardening.core.telemetry import capture
from tests.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from hardening.core.embedded import EmbeddedRedis
    from hardening.core.keys import Keys

QUICK: dict[str, Any] = {"minimum_calls": 2, "window_s": 10, "open_s": 0.2, "probes": 2}


@pytest.fixture
def name(prefix: str) -> str:
    """A breaker that no other test has."""
    return f"b.{prefix}"


@pytest.fixture
def breaker(app: Celery, name: str) -> Breaker:
    """A breaker that is quick to open and to be probed."""
    return Breaker(name, app=app, **QUICK)


def fail(breaker: Breaker, error: BaseException | None = None) -> None:
    """A call that fails."""
    failure = error or ConnectionError("sick")
    with pytest.raises(type(failure)), breaker:
        raise failure


def trip(breaker: Breaker) -> None:
    """Calls fail until it opens."""
    while breaker.state == "closed":
        _is_let_through(breaker, fails=True)
    assert breaker.state == "open"


def calls_in(client: Redis, keys: Keys, name: str) -> list[int]:
    """Calls, failures and slow ones in its window."""
    stored: Any = client.hgetall(keys.breaker(name))
    tenths = [value.split() for field, value in stored.items() if field[:1] == b"w" and field[1:].isdigit()]
    return [sum(int(one[at]) for one in tenths) for at in range(3)]


def test_the_whole_round(app: Celery, breaker: Breaker, name: str, client: Redis, keys: Keys) -> None:
    """Closed, open, half open, open again, half open, closed; each change is told once, with who and why."""
    with capture("hardening.circuit") as events:
        with breaker:
            pass
        trip(breaker)
        with pytest.raises(CircuitOpen) as refused:
            breaker.__enter__()
        assert refused.value.name == name
        assert 0 < refused.value.retry_in_s <= 0.2
        eventually(lambda: _is_let_through(breaker, fails=True))
        eventually(lambda: breaker.state == "open")
        eventually(lambda: _is_let_through(breaker))
        eventually(lambda: _is_let_through(breaker))
        eventually(lambda: breaker.state == "closed")
    changes: list[Any] = list(events)
    told = [(change.name.removeprefix("hardening.circuit."), change.why, change.is_ours) for change in changes]
    assert told[0][0] == "opened"
    assert told[1:] == [
        ("half_opened", "its pause was over", True),
        ("opened", "a probe failed", True),
        ("half_opened", "its pause was over", True),
        ("closed", "2 probes succeeded", True),
    ]
    assert {change.who for change in changes} == {circuits_of(app).who}
    assert client.hget(keys.breaker(name), "state") == b"closed"


def _is_let_through(breaker: Breaker, *, fails: bool = False) -> bool:
    try:
        with suppress(ConnectionError), breaker:
            call(fails=fails)
    except CircuitOpen:
        return False
    return True


def call(*, fails: bool) -> None:
    """The service."""
    if fails:
        raise ConnectionError


def test_results_are_written_in_batches_and_nothing_is_sent_when_nobody_calls(
    app: Celery, breaker: Breaker, name: str, client: Redis, keys: Keys
) -> None:
    """A thousand calls are a few commands; a second later there are none any more."""
    before = _evals(client)
    for _ in range(1000):
        with breaker:
            pass
    eventually(lambda: calls_in(client, keys, name)[0] == 1000)
    assert _evals(client) - before < 50
    eventually(lambda: circuits_of(app).is_asleep)
    asleep = _evals(client)
    assert not threading.Event().wait(0.5)
    assert _evals(client) == asleep


def _evals(client: Redis) -> int:
    stats: Any = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha"))


def test_what_counts_as_a_failure(app: Celery, name: str, client: Redis, keys: Keys) -> None:
    """By default all exceptions but those that only ask Celery for something; a retry is what it carries."""
    tolerant = Breaker(f"{name}.all", app=app, minimum_calls=1000)
    asked: list[BaseException] = [Ignore(), Reject(), Retry(), KeyboardInterrupt()]
    for error in (*asked, Retry(exc=ValueError()), ValueError()):
        fail(tolerant, error)
    with tolerant:
        pass
    eventually(lambda: calls_in(client, keys, tolerant.name) == [3, 2, 0])
    picky = Breaker(f"{name}.some", app=app, minimum_calls=1000, counts=(ConnectionError, "redis.RedisError"))
    for other in (ConnectionResetError(), ValueError(), Retry(exc=OSError()), Retry(exc=ConnectionError())):
        fail(picky, other)
    eventually(lambda: calls_in(client, keys, picky.name) == [4, 2, 0])


def test_slow_calls_open_it_where_they_count(app: Celery, name: str) -> None:
    """However they end."""
    slow = Breaker(name, app=app, minimum_calls=2, slow_call_s=0.001, slow_rate=1.0)
    for _ in range(2):
        with slow:
            threading.Event().wait(0.01)
    eventually(lambda: slow.state == "open")


def test_a_late_result_of_an_old_generation_changes_nothing(
    breaker: Breaker, name: str, client: Redis, keys: Keys
) -> None:
    """A call that began before it opened, and fails after it has closed again, is nobody's business."""
    circuit = breaker._circuit
    late = [circuit.enter() for _ in range(10)]
    trip(breaker)
    breaker.close()
    with breaker:
        pass
    eventually(lambda: calls_in(client, keys, name) == [1, 0, 0])
    generation = client.hget(keys.breaker(name), "generation")
    for passage in late:
        circuit.leave(passage, Verdict.FAILED)
    with breaker:
        pass
    eventually(lambda: calls_in(client, keys, name) == [2, 0, 0])
    assert (breaker.state, client.hget(keys.breaker(name), "generation")) == ("closed", generation)


def test_it_decorates_functions_and_coroutines(breaker: Breaker) -> None:
    """Each call is one behind the breaker; what they return and raise is theirs."""

    @breaker
    def add(left: int, right: int) -> int:
        """Adds."""
        return left + right

    @breaker
    async def add_later(left: int, right: int) -> int:
        """Adds."""
        await asyncio.sleep(0)
        return left + right

    async def with_it() -> int:
        async with breaker:
            return await add_later(3, 4)

    assert (add(1, 2), add.__name__, add.__doc__) == (3, "add", "Adds.")
    assert asyncio.run(with_it()) == 7
    breaker.open()
    with pytest.raises(CircuitOpen):
        add(1, 2)
    with pytest.raises(CircuitOpen):
        asyncio.run(with_it())
    with pytest.raises(CircuitOpen):
        asyncio.run(add_later(1, 2))


def test_calls_may_be_nested_and_concurrent(app: Celery, name: str, client: Redis, keys: Keys) -> None:
    """Each has its own beginning, in threads, coroutines and inside one another."""
    outer, inner = Breaker(f"{name}.o", app=app, minimum_calls=1000), Breaker(f"{name}.i", app=app, minimum_calls=1000)

    async def one(number: int) -> None:
        async with outer:
            await asyncio.sleep(0.001 * (number % 3))
            with suppress(ZeroDivisionError):
                async with inner:
                    await asyncio.sleep(0.001 * (number % 2))
                    assert 1 / (1 - number % 2)

    async def many() -> None:
        await asyncio.gather(*(one(number) for number in range(20)))

    threads = [threading.Thread(target=lambda: asyncio.run(many())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eventually(lambda: calls_in(client, keys, inner.name) == [80, 40, 0])
    eventually(lambda: calls_in(client, keys, outer.name) == [80, 0, 0])


def test_by_hand_it_opens_closes_and_is_reset(breaker: Breaker, name: str, client: Redis, keys: Keys) -> None:
    """Opened so, it is not probed; each change is told with who and why."""
    with capture("hardening.circuit.forced") as events:
        assert breaker.open(why="maintenance", who="kim").state == "open"
        with pytest.raises(CircuitOpen) as refused:
            breaker.__enter__()
        assert refused.value.retry_in_s == pytest.approx(0.2)
        assert not threading.Event().wait(0.3)
        assert not _is_let_through(breaker)
        breaker.close()
        assert _is_let_through(breaker)
        breaker.open(for_s=0.05)
        eventually(lambda: _is_let_through(breaker))
        late: Any = client.hget(keys.breaker(name), "generation")
        breaker.reset(why="done")
        tally, rates = breaking.Tally(int(late), calls=1, failures=1), breaker._circuit.rule.rates
        breaking.report(keys, name, "late", tally, rates).run(client)
        assert not client.sismember(keys.breakers, name)  # nor does a report bring it back that was on its way
        assert _is_let_through(breaker)
    told: list[Any] = list(events)
    assert [(change.state, change.why) for change in told] == [
        ("open", "by hand: maintenance"), ("closed", "by hand"), ("open", "by hand"), ("closed", "by hand: done"),
    ]  # fmt: skip
    assert told[0].who == "kim"
    eventually(lambda: client.sismember(keys.breakers, name))  # it has been used again


def test_who_has_made_no_call_for_a_while_asks_before_the_next(
    app: Celery, breaker: Breaker, name: str, client: Redis, keys: Keys
) -> None:
    """It was opened elsewhere while this process was idle: not one call is begun."""
    with breaker:
        pass
    eventually(lambda: circuits_of(app).is_asleep)
    breaking.force(keys, name, "elsewhere", "", "open").run(client)
    assert not threading.Event().wait(0.3)  # what it knew is old by now
    assert not _is_let_through(breaker)


def test_a_forked_child_counts_for_itself(app: Celery, breaker: Breaker, name: str, client: Redis, keys: Keys) -> None:
    """With a thread and connections of its own; what the parent counted it does not count again."""
    for _ in range(5):
        with breaker:
            pass
    pid = os.fork()
    if pid == 0:
        try:
            for _ in range(7):
                with breaker:
                    pass
            circuits_of(app).run_once()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    eventually(lambda: calls_in(client, keys, name) == [12, 0, 0])


# -- Redis is away


@pytest.fixture
def own_app(own_server: EmbeddedRedis, prefix: str) -> Iterator[Celery]:
    """An app whose Redis may be killed and frozen."""
    app = Celery(f"own-{prefix}", broker=own_server.broker_url, set_as_current=False)
    app.conf.hardening_prefix = prefix
    yield harden(app)
    app.close()


@pytest.mark.one_server
def test_while_redis_is_away_each_process_goes_by_what_it_sees(
    own_app: Celery, own_server: EmbeddedRedis, name: str
) -> None:
    """By the same rule, at once after the first failure, in a few milliseconds a call; shared again when it is back."""
    breaker = Breaker(name, app=own_app, **QUICK)
    with breaker:
        pass
    redis = own_server.client()
    pid: Any = redis.info("server")["process_id"]
    with capture("hardening.circuit") as events:
        os.kill(pid, signal.SIGSTOP)
        try:
            eventually(lambda: _is_let_through(breaker) and circuits_of(own_app).is_isolated)
            waits = [_timed(breaker, fails=False) for _ in range(100)]
            waits += [_timed(breaker, fails=True) for _ in range(200)]
            assert breaker.state == "open"
            assert not _is_let_through(breaker)
            eventually(lambda: _is_let_through(breaker))
            waits += [_timed(breaker, fails=False) for _ in range(100)]
            assert breaker.state == "closed"
            assert sorted(waits)[-5] < 0.005
        finally:
            os.kill(pid, signal.SIGCONT)
        eventually(lambda: not circuits_of(own_app).is_isolated)
    assert _is_let_through(breaker)
    names = [event.name.removeprefix("hardening.circuit.") for event in events]
    assert names == ["isolated", "opened", "half_opened", "closed", "rejoined"]
    told: list[Any] = events[1:-1]
    assert [change.generation for change in told] == [-2, -3, -4]
    assert (breaker.state, breaker._circuit.seen.generation) == ("closed", 0)
    redis.close()


def _timed(breaker: Breaker, *, fails: bool) -> float:
    began_s = time.perf_counter()
    _is_let_through(breaker, fails=fails)
    return time.perf_counter() - began_s


@pytest.mark.one_server
def test_an_open_breaker_stays_open_when_redis_goes_away(own_app: Celery, own_server: EmbeddedRedis, name: str) -> None:
    """The stand-in begins where Redis left off; one that was opened by hand is not probed."""
    breaker = Breaker(name, app=own_app, **QUICK)
    breaker.open()
    own_server.stop()
    eventually(lambda: not _is_let_through(breaker) and circuits_of(own_app).is_isolated)
    assert not threading.Event().wait(0.3)
    assert not _is_let_through(breaker)
