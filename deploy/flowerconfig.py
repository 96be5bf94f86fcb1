"""What Flower reads by ``--conf``: it lets in whom its secret names, and nobody without."""

import os
from pathlib import Path

basic_auth = [Path(os.environ["FLOWER_BASIC_AUTH_FILE"]).read_text(encoding="utf-8").strip()]
address = "0.0.0.0"  # noqa: S104 - of its container; what the host opens, the compose file says
port = 5555
