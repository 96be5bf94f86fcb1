"""The kombu transport that loses nothing.

kombu's Redis transport with its delivery replaced: messages are taken by one atomic script, held under a
lease, and acknowledged in batches. Fanout, TLS, Sentinel, priorities and credentials stay kombu's.
"""

from __future__ import annotations

from hardening.transport.transport import SentinelTransport, Transport

__all__ = ["SentinelTransport", "Transport"]
