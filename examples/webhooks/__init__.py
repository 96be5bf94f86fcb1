"""Webhooks delivered over real HTTP while everything that can break does.

::

    python -m examples.webhooks                        # 2,000 generated events, hardened
    python -m examples.webhooks --stock                # the same run on plain Celery
    python -m examples.webhooks --events events.jsonl  # your own events, one JSON object a line

One process each: an embedded Redis, an endpoint that is slow, flaky and keeps a ledger of what it received,
and two Celery workers of four processes. :mod:`~examples.webhooks.drill` kills workers while they work, cuts
the broker's connections, lets poison events kill whoever delivers them, then replays the dead letters and
asks the endpoint's ledger whether anything was lost.
"""
