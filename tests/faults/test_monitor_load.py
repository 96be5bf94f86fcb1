"""Many processes that monitor at once; see :mod:`tests.faults.monitor_load` for the long form."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SERVERS

pytestmark = [pytest.mark.skipif(not SERVERS, reason="no Redis server on this machine"), pytest.mark.one_server]


def test_a_fleet_is_told_once_and_leaves_nothing() -> None:
    """Half of it killed; the dead owners' monitors are gone within their lease and 2 s."""
    command = [
        sys.executable,
        "-m",
        "tests.faults.monitor_load",
        "--processes",
        "8",
        "--monitors",
        "100",
        "--lease",
        "2",
    ]
    ran = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["removed_s"] <= 4.0
