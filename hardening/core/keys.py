"""Every key in Redis, as functions of the prefix.

Queue lists keep kombu's own names, so that stock Celery shares them. Everything else
begins with the prefix, so that two apps with different prefixes never meet. Scripts get
their fixed keys from here; keys that depend on data *inside* Redis (the list that an entry
came from, the receipt of a message) are built in ``scripts/lib`` from the same pattern, which
is why this library needs one Redis and not a Redis Cluster, as Celery itself does.

    ==============================  =======  ==================================================
    key                             type     holds
    ==============================  =======  ==================================================
    {p}:inflight:{consumer}         hash     seq -> list and raw message a consumer has taken
    {p}:started:{consumer}          hash     seq -> ms at which it was begun
    {p}:consuming:{consumer}        set      names of the queues it takes from, while it holds a lease
    {p}:leases                      zset     live consumer -> expiry, ms
    {p}:dead                        zset     consumer whose lease ran out -> ms; being recovered
    {p}:members                     hash     consumer -> JSON: host, pid
    {p}:seq                         string   the last seq given out
    {p}:queues                      set      names of queues the ledger covers
    {p}:bell:{queue}                list     doorbell, at most one token
    {p}:scheduled                   zset     message id -> due, ms
    {p}:scheduled:messages          hash     message id -> list and raw message
    {p}:crashes                     hash     message id -> crashes so far
    {p}:delivery:{receipt}          hash     the state of a supervised message
    {p}:changes:{receipt}           stream   its new states, while somebody waits for them
    {p}:group:{group}               string   JSON: which messages were sent as one
    {p}:cancelling                  hash     message id -> until when and by whom its holder is asked to give it up
    {p}:idempotency:{digest}        string   the receipt of the one message that has an idempotency key
    {p}:flushing:{spool}            set      message ids that Redis has and a spool has not yet forgotten
    {p}:dlq                         stream   dead letters
    {p}:dlq:groups                  hash     group -> when it was first seen, and what its letters share
    {p}:dlq:group:{group}           stream   ids of the dead letters of a group
    {p}:dlq:queues                  set      queues from which dead letters came
    {p}:dlq:retry                   zset     dead letter -> when it is retried, ms
    {p}:dlq:planned                 string   the last dead letter whose retry was decided
    {p}:dlq:turn                    string   the keeper whose turn it is, for a while
    {p}:owners                      zset     process that has monitors -> expiry of its lease, ms
    {p}:monitors:{owner}            hash     monitor -> what it watches, since when, who set it
    {p}:monitored:{target}          set      the monitors of a target
    {p}:monitor:since               zset     monitor and target -> since when, ms
    {p}:monitor:due                 zset     monitor and target -> when it is a leak, ms
    {p}:monitor:leaked              zset     monitor and target -> when it was reported as a leak, ms
    {p}:monitor:queues              set      names of monitored queues
    {p}:monitor:gone                hash     target that is down -> how; its monitors are being told
    {p}:monitor:downs:{owner}       list     downs that an owner has not heard of yet
    {p}:monitor:bell                list     doorbell of all owners, at most one token
    {p}:monitor:bell:{owner}        list     doorbell of one owner, at most one token
    {p}:monitor:notices             hash     monitor -> the notice that is to be sent as a task
    {p}:monitor:owed                zset     monitor -> when its notice may be sent (again), ms
    {p}:monitor:turn                string   the process whose turn it is to look after monitors
    {p}:nodes                       hash     a worker's name at its host -> its consumer
    {p}:counters                    hash     the ledger, and statistics
    {p}:breaker:{breaker}           hash     a breaker that workers share: state, generation, window
    {p}:breaker:{breaker}:probes    zset     probe -> when its place comes back, ms
    {p}:breakers                    set      names of breakers that have been used
    {p}:timeouts                    hash     rule -> timeout that is set for all processes
    {p}:timeouts:changes            stream   wakes who follows them; the last change alone
    {p}:beat:leader                 string   the beat that leads, with its fence number, for a while
    {p}:beat:fence                  string   the last fence number
    {p}:beat:ticks                  zset     beat -> when it last ticked, ms
    {p}:beat:names                  set      names of schedule entries
    {p}:beat:due                    zset     schedule entry -> when a beat must look at it, ms
    {p}:beat:entry:{entry}          hash     a schedule entry: its definition, its next slot, its last receipts
    {p}:beat:history:{entry}        list     its last slots
    {p}:beat:declared               string   digest of all that code and files declare
    {p}:beat:owner:{owner}          string   lives as long as the owner of periodic messages does
    {p}:beat:bell                   list     wakes the beat that leads, at most one token
    {p}:beat:vacancy                list     wakes one that stands by, at most one token
    {p}:fence                       string   the last fence number of leads, permits and resources
    {p}:election:{election}         string   who leads, with its fence number, for a while
    {p}:vacancy:{election}          list     wakes one who stands by, at most one token
    {p}:barrier:at:{barrier}        hash     a barrier: its generation, and how many parties it is for
    {p}:barrier:parties:{n}:{b}     zset     party of a generation -> expiry of its lease, ms
    {p}:barrier:over:{n}:{b}        stream   how a generation ended; wakes all its parties
    {p}:granted:{lot}               zset     permit or resource that is held -> expiry of its lease, ms
    {p}:grants:{lot}                hash     the same -> its fence number, and which resource it is
    {p}:waiters:{lot}               zset     who waits for one -> its number in line
    {p}:waiting:{lot}               zset     the same -> expiry of its lease, ms
    {p}:grant:bell:{grant}          list     wakes one who waits, at most one token
    {p}:mailbox:{queue}             hash     makes a queue a mailbox: its holder, fence, bound; whether it is halted
    {p}:mailbox:{queue}:room        list     wakes one who waits for room in a mailbox, at most one token
    {p}:agents                      set      names of agents
    {p}:agent:{agent}               hash     the state of an agent, its version, the last message applied
    {p}:agent:{agent}:journal       list     what an agent did since its state was last written whole
    {p}:agent:{agent}:restarts      zset     restart of an agent -> when, ms
    {p}:reply:{ask}                 list     the answer to one who asked, for a while
    {p}:signal:subscriptions        hash     subscription -> what it is tied to, its pattern, who is told
    {p}:signal:expiring             zset     subscription -> when its time to live is over, ms
    {p}:signal:changes              stream   subscriptions that changed; the last id is the version of all
    {p}:signal:stats                hash     what became of signals, and how long emitters waited
    {p}:signal:emitter:{emitter}    string   the number and the answer of the last signal of an emitter, for a while
    ==============================  =======  ==================================================
"""

from __future__ import annotations

from dataclasses import dataclass

from hardening.core.agent_keys import AgentKeys
from hardening.core.coordination_keys import CoordinationKeys
from hardening.core.signal_keys import SignalKeys

__all__ = ["PRIORITY_SEPARATOR", "PRIORITY_STEPS", "UNACKED", "UNACKED_INDEX", "Keys", "list_of", "queue_of"]

#: kombu's separator between a queue's name and its priority step.
PRIORITY_SEPARATOR = "\x06\x16"
#: kombu's priority steps; each is a list of its own.
PRIORITY_STEPS = (0, 3, 6, 9)
#: What stock workers took and have not acknowledged, and when they took it; kombu's names.
UNACKED = "unacked"
UNACKED_INDEX = "unacked_index"


def list_of(queue: str, priority: int) -> str:
    """The list of a queue that holds messages of a priority, as kombu chooses it."""
    step = max(step for step in PRIORITY_STEPS if step <= max(priority, 0))
    return f"{queue}{PRIORITY_SEPARATOR}{step}" if step else queue


def queue_of(list_key: str) -> str:
    """The queue to which a list belongs (priority steps are lists of their own)."""
    return list_key.split(PRIORITY_SEPARATOR, 1)[0]


@dataclass(frozen=True, slots=True)
class Keys(AgentKeys, CoordinationKeys, SignalKeys):
    """All keys of one deployment.

    Args:
        prefix: what every key begins with.
    """

    def inflight(self, consumer: str) -> str:
        """What a consumer took and has not settled."""
        return f"{self.prefix}:inflight:{consumer}"

    def started(self, consumer: str) -> str:
        """What a consumer has begun: who is charged for a crash."""
        return f"{self.prefix}:started:{consumer}"

    def consuming(self, consumer: str) -> str:
        """The queues a live consumer takes from."""
        return f"{self.prefix}:consuming:{consumer}"

    def bell(self, queue: str) -> str:
        """The doorbell of a queue."""
        return f"{self.prefix}:bell:{queue}"

    def delivery(self, receipt: str) -> str:
        """The state of a supervised message."""
        return f"{self.prefix}:delivery:{receipt}"

    def changes(self, receipt: str) -> str:
        """Tells those who wait for a supervised message of its new states."""
        return f"{self.prefix}:changes:{receipt}"

    def group(self, group: str) -> str:
        """Which messages were sent as one."""
        return f"{self.prefix}:group:{group}"

    def idempotency(self, digest: str) -> str:
        """Which receipt has an idempotency key, of which this is the digest."""
        return f"{self.prefix}:idempotency:{digest}"

    def flushing(self, spool: str) -> str:
        """What Redis has and a spool has not yet forgotten: at most one batch."""
        return f"{self.prefix}:flushing:{spool}"

    @property
    def cancelling(self) -> str:
        """What consumers hold and somebody asks them to give up."""
        return f"{self.prefix}:cancelling"

    @property
    def leases(self) -> str:
        """Who is alive."""
        return f"{self.prefix}:leases"

    @property
    def dead(self) -> str:
        """Whose lease ran out and whose messages are being moved back."""
        return f"{self.prefix}:dead"

    @property
    def members(self) -> str:
        """What each consumer says of itself."""
        return f"{self.prefix}:members"

    @property
    def seq(self) -> str:
        """The sequence that numbers every take."""
        return f"{self.prefix}:seq"

    @property
    def queues(self) -> str:
        """The queues the ledger covers."""
        return f"{self.prefix}:queues"

    @property
    def scheduled(self) -> str:
        """Due times of scheduled messages."""
        return f"{self.prefix}:scheduled"

    @property
    def scheduled_messages(self) -> str:
        """The scheduled messages themselves."""
        return f"{self.prefix}:scheduled:messages"

    @property
    def crashes(self) -> str:
        """Crash counts."""
        return f"{self.prefix}:crashes"

    @property
    def dlq(self) -> str:
        """The dead-letter queue."""
        return f"{self.prefix}:dlq"

    @property
    def dlq_groups(self) -> str:
        """The groups of dead letters: what an operator would call one problem each."""
        return f"{self.prefix}:dlq:groups"

    def dlq_group(self, group: str) -> str:
        """The dead letters of one group, by id."""
        return f"{self.prefix}:dlq:group:{group}"

    @property
    def dlq_queues(self) -> str:
        """Queues from which dead letters came."""
        return f"{self.prefix}:dlq:queues"

    @property
    def dlq_retry(self) -> str:
        """When dead letters are retried."""
        return f"{self.prefix}:dlq:retry"

    @property
    def dlq_planned(self) -> str:
        """Up to which dead letter it has been decided whether to retry."""
        return f"{self.prefix}:dlq:planned"

    @property
    def dlq_turn(self) -> str:
        """Whose turn it is to keep the dead letters."""
        return f"{self.prefix}:dlq:turn"

    @property
    def owners(self) -> str:
        """Which processes have monitors."""
        return f"{self.prefix}:owners"

    def monitors(self, owner: str) -> str:
        """The monitors of one process."""
        return f"{self.prefix}:monitors:{owner}"

    def monitored(self, target: str) -> str:
        """The monitors of one target."""
        return f"{self.prefix}:monitored:{target}"

    @property
    def monitor_since(self) -> str:
        """Since when there is each monitor."""
        return f"{self.prefix}:monitor:since"

    @property
    def monitor_due(self) -> str:
        """When each monitor is a leak."""
        return f"{self.prefix}:monitor:due"

    @property
    def monitor_leaked(self) -> str:
        """Monitors that were reported as leaks, and are still there."""
        return f"{self.prefix}:monitor:leaked"

    @property
    def monitor_queues(self) -> str:
        """The queues that are monitored."""
        return f"{self.prefix}:monitor:queues"

    @property
    def monitor_gone(self) -> str:
        """Targets that are down and whose monitors are being told."""
        return f"{self.prefix}:monitor:gone"

    def monitor_downs(self, owner: str) -> str:
        """What an owner has not heard of yet."""
        return f"{self.prefix}:monitor:downs:{owner}"

    def monitor_bell(self, owner: str = "") -> str:
        """The doorbell of one owner; of all, for one of them to wake: without a name."""
        return f"{self.prefix}:monitor:bell:{owner}" if owner else f"{self.prefix}:monitor:bell"

    @property
    def monitor_notices(self) -> str:
        """Notices that are to be sent as tasks."""
        return f"{self.prefix}:monitor:notices"

    @property
    def monitor_owed(self) -> str:
        """When each notice may be sent, or sent again."""
        return f"{self.prefix}:monitor:owed"

    @property
    def monitor_turn(self) -> str:
        """Whose turn it is to look after monitors."""
        return f"{self.prefix}:monitor:turn"

    @property
    def nodes(self) -> str:
        """The consumers of workers, by the names that Celery gives those."""
        return f"{self.prefix}:nodes"

    @property
    def counters(self) -> str:
        """The ledger."""
        return f"{self.prefix}:counters"

    def breaker(self, breaker: str) -> str:
        """A breaker that workers share."""
        return f"{self.prefix}:breaker:{breaker}"

    def breaker_probes(self, breaker: str) -> str:
        """Who probes for a half-open breaker."""
        return f"{self.prefix}:breaker:{breaker}:probes"

    @property
    def breakers(self) -> str:
        """Which breakers there are."""
        return f"{self.prefix}:breakers"

    @property
    def timeouts(self) -> str:
        """Timeouts that are set for all processes."""
        return f"{self.prefix}:timeouts"

    @property
    def timeout_changes(self) -> str:
        """Tells those who follow them of a change."""
        return f"{self.prefix}:timeouts:changes"
