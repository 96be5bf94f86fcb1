"""The Lua scripts: every change of state in Redis is one of them.

A script file states its contract in its header (``KEYS``, ``ARGV``, ``returns``) and names the pieces of
``lib`` it stands on (``-- uses: ...``). :mod:`~hardening.core.scripts.script` loads and runs them,
:mod:`~hardening.core.scripts.calls` has one typed function for each.
"""

from __future__ import annotations

from hardening.core.scripts.calls import Buried, Death, Once, Recovery, Scope, Taken, TakenMessage
from hardening.core.scripts.script import Call, Pending, Script

__all__ = ["Buried", "Call", "Death", "Once", "Pending", "Recovery", "Scope", "Script", "Taken", "TakenMessage"]
