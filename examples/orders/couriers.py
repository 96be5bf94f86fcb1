"""Three couriers, each an agent: they bid for parcels, and carry what they win."""

from __future__ import annotations

from typing import ClassVar

from hardening import Agent, AgentState, handles

__all__ = ["COURIERS"]


class Courier(Agent):
    """Bids what it has to spare.

    Attributes:
        room: for how many parcels.
    """

    room: ClassVar[int] = 0

    class State(AgentState):
        """What it remembers.

        Attributes:
            parcels: the orders that it carries.
        """

        parcels: list[int] = []  # noqa: RUF012 - pydantic copies it

    @handles("on_bid")
    def on_bid(self, parcel: int) -> float:  # noqa: ARG002 - one parcel is like the other
        """The emptier it is, the more."""
        return max(0.0, 1 - len(self.state.parcels) / self.room)

    @handles("carry")
    def carry(self, parcel: int) -> None:
        """Takes a parcel it has won."""
        self.state.parcels.append(parcel)

    @handles("books")
    def books(self) -> list[int]:
        """What it carries."""
        return list(self.state.parcels)


class Bike(Courier):
    """Little, and at once."""

    name = "bike"
    room = 20


class Van(Courier):
    """Much."""

    name = "van"
    room = 100


class Tram(Courier):
    """Something in between."""

    name = "tram"
    room = 50


COURIERS: tuple[type[Courier], ...] = (Bike, Van, Tram)
