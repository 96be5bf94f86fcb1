"""Whether beats tick."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from redis import Redis

    from hardening.core.settings import Settings

__all__ = ["BeatSeen", "Health", "look"]

#: A beat ticks at least four times in a lease; one that has not for so many leases does not tick.
_STALE_LEASES = 2.5


class BeatSeen(NamedTuple):
    """One beat.

    Attributes:
        name: its name.
        host: where it runs.
        leads: whether it holds the lead.
        age_s: how long ago it ticked, by the clock of Redis, in seconds.
        is_fresh: whether that is short enough.
    """

    name: str
    host: str
    leads: bool
    age_s: float
    is_fresh: bool


class Health(NamedTuple):
    """All beats that have ticked within the hour, the one that leads first."""

    beats: tuple[BeatSeen, ...]


def look(client: Redis, settings: Settings) -> Health:
    """Asks Redis who ticks.

    Raises:
        redis.RedisError: Redis could not be asked.
    """
    asked: Any = client
    keys = settings.keys
    with asked.pipeline() as pipeline:
        pipeline.time()
        pipeline.get(keys.beat_leader)
        pipeline.zrange(keys.beat_ticks, 0, -1, withscores=True)
        (seconds, micros), held, ticks = pipeline.execute()
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    leader = (held or b"").decode("utf-8", "replace").partition(" ")[2]
    beats = []
    for raw, ticked_ms in ticks:
        name = raw.decode("utf-8", "replace")
        age_s = max(0.0, (now_ms - ticked_ms) / 1000)
        is_fresh = age_s <= settings.beat_lease_s * _STALE_LEASES
        beats.append(BeatSeen(name, name.rsplit(":", 2)[0], name == leader, age_s, is_fresh))
    return Health(tuple(sorted(beats, key=lambda beat: (not beat.leads, beat.age_s))))
