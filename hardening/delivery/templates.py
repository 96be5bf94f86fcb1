"""Templates for single sends: one for each kind of plain send, made anew every second.

A service sends the same few tasks all the time, and most of what Celery works out for a message is the same as for
the one before. Whatever Celery itself would notice at once is looked at for each send; what it would find in its
configuration only now and then changes is at most a second old.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from hardening.core.membership import boot_clock_s
from hardening.core.travel import outgoing
from hardening.delivery.shortcut import is_uniform, is_watched
from hardening.delivery.template import QueueUnknown, Template

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery import Celery

__all__ = ["template_for"]

_TEMPLATES = "_hardening_templates"
#: How long a template is used, in seconds, and how many are kept.
_FRESH_S = 1.0
_MOST = 1000
#: Options with which a template is worth its making.
_SIMPLE = frozenset({"task_id", "queue", "priority"})

_Kind = tuple[str, Any, Any, int, int, int]


def template_for(task: Any, app: Celery, options: Mapping[str, Any], fields: dict[str, str]) -> Template | None:
    """The template of a plain send; None: it is to be made by itself.

    Any thread may call it, also in a forked child: a message says which process and thread made it.

    Args:
        task: a plain one, see :mod:`~hardening.delivery.shortcut`.
        app: its app.
        options: of the publication, with ``task_id``.
        fields: what the receipt says.
    """
    if not _SIMPLE.issuperset(options) or not isinstance(options.get("queue", ""), str):
        return None
    if is_watched() or outgoing():  # what goes along is not the same from message to message
        return None
    queue, priority, router = options.get("queue"), options.get("priority"), id(app.amqp.router)
    kind: _Kind = (task.name, queue, priority, router, os.getpid(), threading.get_ident())
    templates: dict[_Kind, tuple[float, Template | None]] = vars(app).setdefault(_TEMPLATES, {})
    made_at_s, template = templates.get(kind, (0.0, None))
    now_s = boot_clock_s()
    if now_s - made_at_s > _FRESH_S:
        template = _made(task, app, options, fields)
        if len(templates) >= _MOST:
            templates.clear()
        templates[kind] = now_s, template
    return template


def _made(task: Any, app: Celery, options: Mapping[str, Any], fields: dict[str, str]) -> Template | None:
    if not is_uniform(task, app):
        return None
    try:
        return Template(task, {name: value for name, value in options.items() if name != "task_id"}, fields)
    except QueueUnknown:
        return None
