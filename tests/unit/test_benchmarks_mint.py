"""Copies of a message that the benchmarks fill queues with."""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks.mint import Mint

TASK = "11111111-2222-4333-8444-555555555555"
TAG = "99999999-2222-4333-8444-555555555555"
RAW = json.dumps(
    {"hardening": TAG + "-" * 36, "body": "100 %s", "headers": {"id": TASK, "root_id": TASK}, "tag": TAG}
).encode()


def test_copies_differ_in_their_ids_alone() -> None:
    """An id that stands in several places is the same in all of them."""
    first, second = (json.loads(raw) for raw in Mint(RAW).copies(2))
    assert first["body"] == second["body"] == "100 %s"
    for copy in (first, second):
        assert copy["headers"]["id"] == copy["headers"]["root_id"]
        assert copy["hardening"] == copy["tag"] + "-" * 36
        assert {len(copy["tag"]), len(copy["headers"]["id"])} == {36}
    ids = {copy[name] for copy in (first, second) for name in ("tag",)}
    ids |= {copy["headers"]["id"] for copy in (first, second)}
    assert len(ids) == 4


def test_a_mint_goes_on_where_it_is_told() -> None:
    """So that a queue can be filled in parts."""
    mint = Mint(RAW)
    assert [*mint.copies(2), *mint.copies(1, first=2)] == list(mint.copies(3))


def test_stock_subjects_do_not_import_hardening() -> None:
    """What is measured as stock Celery is stock Celery."""
    modules = "benchmarks.subject, benchmarks.publish, benchmarks.queues, benchmarks.depth, benchmarks.worker_app"
    script = f"import sys, {modules}; sys.exit(any(name.startswith('hardening') for name in sys.modules))"
    environ = {"BENCHMARKS_BROKER": "redis://localhost", "BENCHMARKS_SIDE": "stock", "PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60, env=environ)
