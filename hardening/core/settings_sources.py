"""Where settings come from, each with the name it was given under, so that faults can be told by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_settings import PydanticBaseSettingsSource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo
    from pydantic_settings import BaseSettings

__all__ = ["ConfSource", "EnvironSource", "Given"]

_CONF = "hardening_"
_ENV = "HARDENING_"
#: Environment names that belong to other parts of the library.
_FOREIGN_ENV = frozenset({"REDIS_SERVER"})

#: By setting: the name it was given under, and the value.
Given = dict[str, tuple[str, Any]]


class _Source(PydanticBaseSettingsSource):
    """Settings that were given by name; unknown names are kept too, for whoever tells of them."""

    def __init__(self, settings: type[BaseSettings], given: Given) -> None:
        super().__init__(settings)
        self.given = given

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - pydantic's
        """The value of a setting that was given, the name it was given under, and that it is no JSON still to read."""
        shown, value = self.given[field_name]
        return value, shown, False

    def __call__(self) -> dict[str, Any]:
        """The values that were given, by setting."""
        fields = self.settings_cls.model_fields.items()
        return {name: self.get_field_value(field, name)[0] for name, field in fields if name in self.given}


class ConfSource(_Source):
    """An app's configuration; where it says a thing twice, the later map of Celery's chain wins.

    Args:
        settings: the model.
        conf: the configuration.
        namespace: the app's, if it has one.
    """

    def __init__(self, settings: type[BaseSettings], conf: Mapping[str, Any], namespace: str | None) -> None:
        prefixes = (f"{namespace.rstrip('_')}_{_CONF}".lower(), _CONF) if namespace else (_CONF,)
        given = {}
        for shown, value in conf.items():
            for prefix in prefixes:
                if str(shown).lower().startswith(prefix):
                    given[str(shown)[len(prefix) :].lower()] = (str(shown), value)
                    break
        super().__init__(settings, given)


class EnvironSource(_Source):
    """The environment.

    Args:
        settings: the model.
        environ: the environment.
    """

    def __init__(self, settings: type[BaseSettings], environ: Mapping[str, str]) -> None:
        given = {
            name[len(_ENV) :].lower(): (name, value)
            for name, value in environ.items()
            if name.startswith(_ENV) and name[len(_ENV) :] not in _FOREIGN_ENV
        }
        super().__init__(settings, given)
