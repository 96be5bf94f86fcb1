"""What an agent remembers between messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, TypeAdapter

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AgentState"]

_JSON: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


class AgentState(BaseModel):
    """The state of an agent: a pydantic model, kept in Redis as JSON.

    Every field needs a default, for that is what an agent begins with. When fields change their meaning, raise
    ``schema_version`` and say in :meth:`migrate` what becomes of states of older versions::

        class State(AgentState):
            schema_version = 2
            stock: dict[str, int] = {}

            @classmethod
            def migrate(cls, old_version, data):
                return {"stock": data["items"]} if old_version == 1 else data

    Attributes:
        schema_version: of the fields; counts upwards from 1.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: ClassVar[int] = 1

    @classmethod
    def migrate(cls, old_version: int, data: dict[str, Any]) -> Mapping[str, Any]:
        """Makes a state of an older version one of this version. The next commit writes it.

        Runs in the worker that opens the agent, before its message. What it raises parks the agent: no message is lost.

        Args:
            old_version: that of the state.
            data: the state, as JSON has it.

        Raises:
            ValueError: nobody said how.
        """
        raise ValueError(
            f"the state is of schema_version {old_version}, expected {cls.schema_version}, and {cls.__qualname__} has "
            f"no migrate() that takes {len(data)} fields from there"
        )

    @classmethod
    def read(cls, state: bytes, version: int) -> Self:
        """The state as Redis has it.

        Args:
            state: JSON.
            version: its schema.

        Raises:
            ValueError: it is of another schema, and cannot be migrated; or not such a state at all.
        """
        if version == cls.schema_version:
            return cls.model_validate_json(state)
        if version > cls.schema_version:
            raise ValueError(
                f"the state is of schema_version {version}, written by newer code than runs here "
                f"({cls.schema_version}): deploy that here, too"
            )
        return cls.model_validate(cls.migrate(version, _JSON.validate_json(state)))

    def written(self) -> bytes:
        """The state as JSON.

        Raises:
            ValueError: it holds what JSON does not know.
        """
        return self.model_dump_json().encode()
