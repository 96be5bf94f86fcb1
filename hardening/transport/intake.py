"""How messages come in: take while there are any, then wait for a doorbell.

Two connections: a :class:`Line`, on which takes and acks go out together and replies come in order, and
one that blocks on the bells of the queues while they are empty. The loop's thread runs all of it.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any

from kombu.utils.scheduling import cycle_by_name
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from hardening.core import payload as payloads
from hardening.core import telemetry
from hardening.core.keys import queue_of
from hardening.core.membership import boot_clock_s
from hardening.core.scripts import Death, Taken
from hardening.transport.line import Line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hardening.transport.book import Book
    from hardening.transport.channel import TakingChannel
    from hardening.transport.held import Held
    from hardening.transport.qos import HeldMessage

__all__ = ["DELIVERY_BUDGET_S", "Intake"]

#: How long deliveries may keep the loop from reading and acknowledging, in seconds. A task that the
#: solo pool runs inside its delivery takes as long as it takes, but the next one waits for a tick.
DELIVERY_BUDGET_S = 0.005
#: Credit is left to gather, while there is work waiting, for at most this long: larger batches.
_GATHER_S = 0.05
#: How soon to look again whether a suspect may run, in milliseconds, where no crash delay is set.
_SUSPECT_MS = 200
#: What a payload may do to whoever opens it.
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, LookupError, RecursionError)


class Intake:
    """The consuming side of one channel.

    Args:
        channel: whose queues, credit, clients and callbacks it uses.
        book: where it enters what it takes.
    """

    def __init__(self, channel: TakingChannel, book: Book) -> None:
        self._channel = channel
        self._book = book
        self._cycle = cycle_by_name(channel.queue_order_strategy)()
        self._buffer: deque[Held] = deque()
        self._line: Line | None = None
        self._line_client: Any = None
        self._bell_client: Any = None
        self._is_taking = False
        self._bell_due_s = 0.0
        self._taken_at_s = 0.0
        self.queues: list[str] = []

    # -- queues

    def add(self, queue: str) -> None:
        """Takes from one more queue."""
        if queue not in self.queues:
            self.queues.append(queue)
            self._on_queues()

    def remove(self, queue: str) -> None:
        """Takes no longer from a queue; what was taken and not delivered goes back."""
        if queue in self.queues:
            self.queues.remove(queue)
            self._on_queues()
            back = [held for held in self._buffer if held.queue == queue]
            self._buffer = deque(held for held in self._buffer if held.queue != queue)
            self._book.release(back, why="cancelled")

    def _on_queues(self) -> None:
        self._cycle.update(self.queues)
        self._book.consuming.set(self.queues)
        if not self.queues:  # there may be no other tick: a worker that stops cancels them all
            with contextlib.suppress(RedisConnectionError, RedisTimeoutError):
                self._book.consuming.tell()

    # -- the loop

    def tick(self) -> None:
        """Writes what has gathered and asks for more, if there is room."""
        if self._line is None:
            self._line = self._connect()
        self._book.consuming.tell()
        self._book.fill()
        vacant = self._book.vacant.pop()
        if not self._book.flush():
            raise RedisConnectionError("the connection broke while acknowledging")
        queues = [queue for queue in vacant if queue in self.queues] if self._bell_due_s else self.queues
        if queues and not self._is_taking and self._wants_more():
            self._take(self._line, queues)
        elif vacant:
            self._book.vacant.put_back(vacant)

    def _wants_more(self) -> bool:
        qos = self._channel.qos
        if self._buffer or not qos.credit():
            return False
        few = self._book.waiting <= qos.prefetch_count // 4
        return few or boot_clock_s() - self._taken_at_s > _GATHER_S

    def _connect(self) -> Line:
        channel = self._channel
        if self._line_client is None:
            self._line_client = channel._create_client(asynchronous=True)
            self._bell_client = channel._create_client(asynchronous=True)
        poller = channel.connection.cycle
        poller.register(channel, self._line_client, "LINE")
        poller.register(channel, self._bell_client, "BELL")
        line = Line(self._line_client.connection)
        self._book.use_line(line)
        self._book.wake = poller.wake
        return line

    def _take(self, line: Line, queues: Sequence[str]) -> None:
        """Asks for what there is in all queues; in mailboxes alone, while the bells are listened to."""
        channel, is_whole = self._channel, queues is self.queues
        if is_whole:
            queues = self._cycle.consume(len(queues))
        lists = [channel._q_for_pri(queue, step) for step in channel.priority_steps for queue in queues]
        call, consumer = self._book.take_call(lists, channel.qos.credit())
        self._is_taking = True
        self._taken_at_s = boot_clock_s()
        line.send(call, lambda reply: self._on_taken(Taken.parse(reply, lists), consumer, is_whole))

    def _on_taken(self, taken: Taken, consumer: str, is_whole: bool) -> None:
        self._is_taking = False
        book = self._book
        if taken.reaped:
            book.lease.renew()
            return
        self._buffer.extend(book.admit(taken, consumer))
        if taken.messages:
            self._cycle.rotate(queue_of(taken.messages[-1].list_key))
        elif is_whole:
            self._listen(taken)

    def _listen(self, taken: Taken) -> None:
        """Blocks, on the server, until a bell rings, a scheduled message is due, or the poll interval is over.

        The bell of a mailbox that another consumer holds is for that one to hear. Our own is listened to also while
        its message is in flight, when nobody rings: when that is settled, we may be waiting still.
        """
        settings = self._channel.settings
        wait_s = settings.poll_interval_s
        if taken.next_due_ms:
            wait_s = min(wait_s, max(taken.next_due_ms - taken.now_ms, 1) / 1000)
        if not self.queues:
            return
        self._bell_due_s = boot_clock_s() + wait_s
        heard = [queue for queue in self.queues if queue not in taken.others] if taken.others else self.queues
        bells = [settings.keys.bell(queue) for queue in heard] or [settings.keys.bell("")]  # where nobody rings
        connection = self._bell_client.connection
        connection.send_packed_command(connection.pack_command("BRPOP", *bells, f"{wait_s:.3f}"), check_health=False)

    # -- what the poller calls

    def on_line(self) -> bool:
        """Replies are there."""
        if self._line is not None:
            self._line.pump()
        return self.deliver()

    def on_bell(self) -> bool:
        """A bell rang, or none did for long enough: have a look."""
        self._bell_client.connection.read_response()
        self._bell_due_s = 0.0
        self.tick()
        return False

    def deliver(self) -> bool:
        """Hands on what was taken, for a few milliseconds.

        Returns:
            Whether anything was handed on.
        """
        end_s = boot_clock_s() + DELIVERY_BUDGET_S
        delivered = False
        while self._buffer and (not delivered or boot_clock_s() < end_s):
            delivered = True
            self.deliver_one()
        if self._buffer:
            self._channel.connection.cycle.nudge()
        return delivered

    def deliver_one(self) -> bool:
        """Hands on one message, if there is one."""
        if not self._buffer:
            return False
        held = self._buffer.popleft()
        callback = self._channel.connection._callbacks.get(held.queue)
        if callback is None:
            self._book.release([held], why="cancelled")
        else:
            callback(held)
        return True

    def open(self, held: Held) -> HeldMessage | None:
        """Reads a message. One that is not due goes to the schedule, one that cannot be read is buried."""
        channel, book = self._channel, self._book
        if not book.suspects.may_run(held):
            due_ms = book.now_ms() + max(channel.settings.crash_delay_ms, _SUSPECT_MS)
            book.release([held], why="suspect", due_ms=due_ms)
            return None
        try:
            payload = payloads.load(held.raw)
            due_ms = payloads.due_ms(payload)
            if due_ms > book.now_ms():
                book.release([held], why="not_due", due_ms=due_ms)
                return None
            if due_ms:
                payload["headers"]["eta"] = None  # it is due by Redis, whatever the clock here says
            properties = payload["properties"]
            properties["delivery_tag"] = str(held.seq)
            if held.crashes:
                properties.setdefault("delivery_info", {})["redelivered"] = True
            message = channel.Message(payload, channel=channel)
        except _UNREADABLE as error:
            self._bury_unreadable(held, error)
            return None
        message.held = held
        channel.qos.append(message, message.delivery_tag)
        return message

    def _bury_unreadable(self, held: Held, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"
        self._book.bury(held, Death("undecodable", text))
        telemetry.emit(
            telemetry.MessageBuried(
                message=held.message_id, task="", queue=held.queue, reason="undecodable", error=text, raw=held.raw
            )
        )

    @property
    def waited_s(self) -> float:
        """How long an answer is overdue, in seconds."""
        overdue_s = boot_clock_s() - self._bell_due_s if self._bell_due_s else 0.0
        return max(overdue_s, self._line.waited_s if self._line else 0.0)

    def hang_up(self) -> None:
        """Drops both connections at once."""
        for client in (self._line_client, self._bell_client):
            if client is not None and client.connection is not None:
                client.connection.disconnect()

    def stop(self) -> None:
        """Gives back what was not delivered, and ends both connections."""
        if self._book.keep:
            self._book.forget(self._buffer)
        elif self._line is not None:
            with contextlib.suppress(RedisConnectionError, RedisTimeoutError):
                self._line.drain()
        self._book.lose_line()
        self._buffer.clear()
        self.hang_up()
        self._line = None
