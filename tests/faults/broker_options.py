"""How the apps of fault tests reach their broker, on both sides."""

from __future__ import annotations

import ssl
from typing import Any

__all__ = ["MASTER", "broker_options"]

#: The name under which Sentinels here know their master.
MASTER = "mymaster"


def broker_options(authority: str = "") -> dict[str, Any]:
    """What an app's configuration says of the broker besides its URL.

    Args:
        authority: a file; where given, the broker and its Sentinels speak TLS.
    """
    options: dict[str, Any] = {"master_name": MASTER}
    if not authority:
        return {"broker_transport_options": options}
    options["sentinel_kwargs"] = {"ssl": True, "ssl_ca_certs": authority}
    return {
        "broker_transport_options": options,
        "broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": authority},
    }
