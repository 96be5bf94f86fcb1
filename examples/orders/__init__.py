"""An order service that uses all of the library at once, and proves by its books that nothing was lost.

::

    python -m examples.orders                 # 60 orders; one of two workers is killed halfway
    python -m examples.orders --orders 20

Read it in this order; each file is one part of the service:

- :mod:`~examples.orders.app`: the Celery app, its breaker, its agents, its schedule.
- :mod:`~examples.orders.shop`: what a customer meets: a price within a time, stock, a payment, a receipt.
- :mod:`~examples.orders.inventory`: the agent that keeps the stock, and answers "sold out" instead of raising.
- :mod:`~examples.orders.payments`: the task that charges a flaky gateway, behind a boundary and a breaker.
- :mod:`~examples.orders.packing`: few stations, and couriers who bid for each parcel.
- :mod:`~examples.orders.couriers`: the agents who carry them.
- :mod:`~examples.orders.restocking`: goods that come every second.

The rest makes trouble and counts: :mod:`~examples.orders.gateway` is the other side of the payments,
:mod:`~examples.orders.crew` runs the workers and the beat, :mod:`~examples.orders.day` is one run from the first order
to the last dead letter, and :mod:`~examples.orders.audit` says what must be true afterwards.
"""
