"""A worker that has nothing to do leaves Redis alone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from hardening.core.scripts import Script
from hardening.core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardening.core.embedded import EmbeddedRedis
    from tests.faults.rig import Rig

pytestmark = pytest.mark.one_server

#: How long it is watched, in seconds, by the clock of Redis.
_WATCH_S = 6.0
_SCRIPTS = ("take", "ack", "renew", "consume", "recover", "keep", "read_timeouts")
_NAMES = {Script.load(name).sha: name for name in _SCRIPTS}
#: What tells that the worker lives and what it takes from, looks for the dead, after dead letters, and for other
#: timeouts; Celery's own events and what keeps its subscription.
_HEARTBEAT = frozenset(
    {"renew", "consume", "recover", "keep", "read_timeouts", "XREAD", "HLEN unacked", "PUBLISH", "PING"}
    | {"HELLO", "CLIENT"}  # a connection that is made late
)


def _named(command: str) -> str:
    word, _, rest = command.partition(" ")
    if word == "EVALSHA":
        return _NAMES.get(rest.partition(" ")[0], command)
    return command if word == "HLEN" else word.upper()


def _watch(broker: EmbeddedRedis) -> Counter[str]:
    """What clients send in a few seconds, once the worker waits and sweeps; scripts by their names."""
    seen: Counter[str] = Counter()
    with broker.client(socket_timeout=10.0) as client, client.monitor() as monitor:
        # The first of each connects, and sends its script, too.
        unseen, began_s = ["BRPOP", "recover", "recover", "keep", "keep", "XREAD"], 0.0
        while True:
            command: dict[str, Any] = monitor.next_command()
            name = _named(command["command"])
            if unseen:
                began_s = command["time"]
                if name in unseen:
                    unseen.remove(name)
            elif command["time"] > began_s + _WATCH_S:
                return seen
            elif command["client_type"] != "lua":  # what scripts call inside is not sent
                seen[name] += 1


@pytest.mark.parametrize(("queues", "pool"), [(1, "threads"), (20, "threads"), (20, "gevent")])
def test_an_idle_worker_sends_less_than_three_commands_a_second(
    own_broker: EmbeddedRedis, rig_for: Callable[..., Rig], queues: int, pool: str
) -> None:
    """Beyond its heartbeat, with the default settings; one queue or twenty, for one take looks into all of them.

    Anything that is not known as heartbeat counts against the queues.
    """
    rig = rig_for(own_broker.broker_url)
    defaults = Settings()
    names = [f"{rig.queue}.{number}" for number in range(queues)]
    poll_s, lease_s = str(defaults.poll_interval_s), str(defaults.lease_ttl_s)
    rig.ready(rig.start(pool, 4, queues=names, faults_poll_s=poll_s, faults_lease_s=lease_s))
    seen = _watch(own_broker)
    for_queues = {name: count for name, count in seen.items() if name not in _HEARTBEAT}
    assert set(for_queues) == {"take", "BRPOP"}
    assert sum(for_queues.values()) / _WATCH_S < 3, for_queues
    assert (seen.total() - sum(for_queues.values())) / _WATCH_S < 5, seen
    assert seen["recover"] >= _WATCH_S / 2
