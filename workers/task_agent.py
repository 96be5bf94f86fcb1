"""The agent ``task``: a queue of work, of which it gives to the workers only so much at a time.

Items are Celery tasks by name. The most urgent ones are sent first, so that what waits can be overtaken, cancelled and
paused; a message that Celery has cannot. A message goes out with the commit that says so, and what became of it its
receipt tells: so an agent that is killed at any instant goes on from there, sends nothing twice and forgets nothing.

Guarantees: the message of an attempt is published once; never more than ``concurrency`` messages at a time have not
ended, save those that ran into their timeout in a pool that cannot kill.

Does not guarantee: that a task runs once. It is delivered as any message is, and runs again when its worker dies.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from kombu.utils.json import dumps
from pydantic import ValidationError
from redis.exceptions import RedisError

from hardening.agents import Agent, AgentState, Mailbox, Refused, handles
from hardening.core.agent_message import AGENT_TASK
from hardening.core.deployment import client_of, settings_of
from hardening.core.errors import ConfigError
from hardening.core.raw import new_id
from workers.messages import Look, look_at
from workers.oversight import withdrawn
from workers.submission import Submission
from workers.work_queue import Item, PauseRule, QueueFull, WorkQueue

__all__ = ["TaskAgent"]

#: How large the arguments of an item may be, as JSON, in characters: the state is written whole.
_LARGEST = 2048
#: How much longer than its timeout a message that runs is waited for: the pool kills it, and says so, in seconds.
_GRACE_S = 5.0
#: How many ticks may fail to come before there is a new series of them, and how long that is at least, in seconds.
_MISSED, _MISSED_S = 10, 10.0


class TaskAgent(Agent):
    """Gives work to the workers.

    Attributes:
        bound: how many items may wait.
        concurrency: how many messages may be sent and not ended.
        when_full: ``reject``: what has no room is refused. ``drop_lowest``: the last item with the lowest priority
            makes room for one with a higher.
        pause_rule: how many errors pause the queue.
        tick_s: how often it looks what became of messages, in seconds; sooner, while there is news.
        urgent_s: how soon at the soonest.
    """

    name = "task"
    mailbox = Mailbox(bound=10_000)
    bound: ClassVar[int] = 1000
    concurrency: ClassVar[int] = 10
    when_full: ClassVar[Literal["reject", "drop_lowest"]] = "reject"
    pause_rule: ClassVar[PauseRule] = PauseRule()
    tick_s: ClassVar[float] = 0.5
    urgent_s: ClassVar[float] = 0.05

    class State(AgentState):
        """What it remembers.

        Attributes:
            queue: the items.
            series: which ticks count: those of an older series do not.
            is_ticking: whether there is to be another tick.
            ticked_s: when there was one.
            pause_s: how long it is to the next, in seconds.
        """

        queue: WorkQueue = WorkQueue()
        series: int = 0
        is_ticking: bool = False
        ticked_s: float = 0.0
        pause_s: float = 0.0

    # -- what people ask of it

    @handles("submit")
    def submit(
        self,
        task: str,
        args: list[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
        *,
        id: str = "",  # noqa: A002 - what callers call it
        priority: int = 5,
        timeout_s: float = 60.0,
    ) -> str:
        """Has a task be done. Returns the id of the item.

        Args:
            task: its name.
            args: its arguments; with ``kwargs`` at most 2,048 characters of JSON.
            kwargs: likewise.
            id: of the item; default: a new one. Submitting the same again changes nothing, unless it failed.
            priority: 0 to 9; those with more go first.
            timeout_s: how long the task may take, and how long its message may wait for a worker, in seconds.
        """
        try:
            read = Submission(id=id or new_id(), task=task, args=args or [], kwargs=kwargs or {}, priority=priority,
                              timeout_s=timeout_s)  # fmt: skip
        except ValidationError as error:
            first = error.errors()[0]
            raise Refused(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        item = Item(**read.model_dump())
        if item.task == AGENT_TASK:
            raise Refused(f"{AGENT_TASK} is no task to be submitted: tell the agent")
        size = len(dumps([item.args, item.kwargs]))
        if size > _LARGEST:
            raise Refused(
                f"the arguments are {size} characters of JSON, expected at most {_LARGEST}: say where they are"
            )
        return self._submit(item)

    def _submit(self, item: Item) -> str:
        queue, look = self._queue, self._look()
        known, ended = queue.known(item.id), queue.ended.get(item.id)
        if known is not None and not known.is_same(item):
            raise Refused(f"there is another item with the id {item.id}: choose one of its own, or none")
        if known is None and (ended is None or ended.end != "done"):
            try:
                queue.submit(item, look.now_s, bound=self.bound, drops=self.when_full == "drop_lowest")
            except QueueFull as error:
                raise Refused(f"the queue is full: {error}") from None
        self._go_on(look)
        return item.id

    @handles("status")
    def status(self, id: str = "") -> dict[str, Any]:  # noqa: A002 - what callers call it
        """How the queue is, or one item."""
        look = self._look()
        self._go_on(look)
        if id:
            return self._shown(str(id))
        queue = self._queue
        return {
            "paused": queue.paused, "waiting": len(queue.waiting), "running": len(queue.running),
            "ended": len(queue.ended), "errors": len(queue.errors), "submitted": queue.count,
            "bound": self.bound, "concurrency": self.concurrency,
        }  # fmt: skip

    @handles("list")
    def list_items(self, state: str = "", limit: int = 50) -> list[dict[str, Any]]:
        """Items: those that run, those that wait, the most urgent first, and those that ended, the last first.

        Args:
            state: ``running``, ``waiting``, ``done``, ...; default: of all.
            limit: how many at most.
        """
        self._go_on(self._look())
        queue = self._queue
        ids = [*queue.running, *(one.id for one in sorted(queue.waiting.values(), key=lambda one: one.rank))]
        ids += reversed(queue.ended)
        found = [shown for shown in map(self._shown, ids) if state in {"", shown["state"]}]
        return found[: max(0, limit) if isinstance(limit, int) else 50]

    @handles("cancel")
    def cancel(self, id: str) -> dict[str, Any]:  # noqa: A002 - what callers call it
        """Cancels an item, unless it runs: then its task is left alone, and its end tells. Returns how it is."""
        look = self._look()
        item = self._queue.known(str(id))
        if item is not None and (not item.receipt or withdrawn(self.app, item.receipt)):
            self._end(item.id, "cancelled", "", look.now_s)
        elif item is not None:
            item.is_unwanted = True
        self._go_on(look)
        return self._shown(str(id))

    @handles("pause")
    def pause(self, why: str = "somebody paused it") -> None:
        """Sends nothing more; what is sent is done."""
        self._queue.pause(str(why)[:500] or "somebody paused it")
        self._go_on(self._look())

    @handles("resume")
    def resume(self) -> bool:
        """Goes on, with no errors counted. Returns whether it was paused."""
        was_paused = self._queue.resume()
        self._go_on(self._look())
        return was_paused

    # -- what it tells itself

    @handles("wake")
    def wake(self) -> None:
        """A worker begins to host it: it looks after what it has. To be told so again does no harm."""
        self._go_on(self._look())

    @handles("tick")
    def tick(self, series: int) -> None:
        """Looks what became of messages."""
        if series == self.state.series:
            self.state.is_ticking = False
            self._go_on(self._look())

    # -- how

    @property
    def _queue(self) -> WorkQueue:
        queue: WorkQueue = self.state.queue
        return queue

    def _look(self) -> Look:
        """What became of messages, and what time it is; while Redis is away, that nothing is known.

        Read before anything is decided: whatever is decided then is committed with it.
        """
        receipts = [one.receipt for one in self._queue.running.values()]
        try:
            return look_at(client_of(self.app), settings_of(self.app).keys, receipts)
        except (RedisError, OSError):
            return Look(self.state.ticked_s, {})

    def _go_on(self, look: Look) -> None:
        """Does whatever follows from the state as it is, and from what became of messages."""
        seen = [item for item in self._queue.running.values() if item.receipt in look.states]
        ended = sum([self._settle(item, look) for item in seen])
        sent = 0
        while (item := self._queue.next(self.concurrency)) is not None:
            sent += 1
            self._send(item, look.now_s)
        state = self.state
        missed = look.now_s - state.ticked_s > _MISSED * self.tick_s + _MISSED_S
        if self._queue.running and (missed or not state.is_ticking):
            state.pause_s = self.urgent_s if ended or sent else min(self.tick_s, 2 * state.pause_s)
            state.series, state.is_ticking, state.ticked_s = state.series + 1, True, look.now_s
            self.tell_self_after(state.pause_s, "tick", state.series)

    def _settle(self, item: Item, look: Look) -> bool:
        """Ends an item whose message has ended, or has had its time. Returns whether it did."""
        place, reason = look.states[item.receipt]
        late_s = look.now_s - item.since_s - item.timeout_s
        if place == "acked":
            self._end(item.id, "done", "", look.now_s)
        elif place == "dead" and reason == "cancelled":
            self._end(item.id, "cancelled", "", look.now_s)
        elif place == "dead":
            end = "timed_out" if reason == "timeout" else "failed"
            self._end(item.id, end, f"its message is dead ({reason}), see celery dlq", look.now_s)
        elif not place:
            self._end(item.id, "failed", "its receipt is gone, so nobody knows", look.now_s)
        elif place in {"queued", "scheduled", "claimed"} and late_s > 0 and withdrawn(self.app, item.receipt):
            self._end(item.id, "timed_out", f"nobody had begun it after {item.timeout_s:g} s", look.now_s)
        elif late_s > item.timeout_s + _GRACE_S:
            self._end(item.id, "timed_out", f"it was {place} after {look.now_s - item.since_s:.1f} s", look.now_s)
        else:
            return False
        return True

    def _end(self, id_: str, end: Any, why: str, now_s: float) -> None:
        self._queue.end(id_, end, why, now_s, self.pause_rule)

    def _send(self, item: Item, now_s: float) -> None:
        try:
            receipt = self.send_task(item.task, item.args, item.kwargs, time_limit=item.timeout_s)
        except ConfigError as error:
            self._end(item.id, "failed", f"it cannot be sent: {error}".partition("\n")[0][:500], now_s)
        else:
            self._queue.sent(item.id, receipt, now_s)

    def _shown(self, id_: str) -> dict[str, Any]:
        item, ended = self._queue.known(id_), self._queue.ended.get(id_)
        if item is not None:
            state = "running" if item.receipt else "waiting"
            shown = item.model_dump(include={"id", "task", "priority", "attempt", "receipt", "since_s", "is_unwanted"})
            return {"state": state, **shown}
        if ended is not None:
            return {"state": ended.end, **ended.model_dump(exclude={"end"})}
        raise Refused(f"there is no item {id_[:100]!r}, or it ended long ago")
