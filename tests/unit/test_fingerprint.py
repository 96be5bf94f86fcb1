"""Fingerprints: the same for the same problem, another for another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardening.core.fingerprint import fingerprint_of

TRACEBACK = """Traceback (most recent call last):
  File "/usr/lib/python3.11/site-packages/celery/app/trace.py", line 453, in trace_task
    R = retval = fun(*args, **kwargs)
  File "/srv/{release}/shop/tasks.py", line {line}, in charge
    raise ValueError(order)
ValueError: no such order
"""


@pytest.mark.parametrize(
    ("error", "traceback", "fingerprint"),
    [
        ("ValueError: no such order 17", "", "ValueError"),
        ("ValueError: no such order 17", TRACEBACK.format(release="1", line=9), "ValueError in charge (shop/tasks.py)"),
        ("redis.exceptions.TimeoutError: x", "", "redis.exceptions.TimeoutError"),
        ("KeyError", "", "KeyError"),
        ("no task named 'x' is registered", "", ""),
        ("", "", ""),
        ("expired at noon", "File x, line 1, in y", ""),
        ("E: x", '  File "C:\\\\shop\\\\tasks.py", line 1, in <lambda>\n', "E in <lambda> (shop/tasks.py)"),
    ],
)
def test_it_is_the_kind_of_error_and_where_it_was_raised(error: str, traceback: str, fingerprint: str) -> None:
    """The last frame counts; what is no error's type is left out."""
    assert fingerprint_of(error, traceback.replace("\\\\", "\\")) == fingerprint


def test_lines_and_releases_do_not_matter() -> None:
    """The next deployment has the same problem."""
    found = {
        fingerprint_of(f"ValueError: {line}", TRACEBACK.format(release=f"r{line}", line=line)) for line in range(5)
    }
    assert len(found) == 1


def test_a_frame_without_an_error_is_one_too() -> None:
    """It begins with a word, as any other."""
    assert fingerprint_of("no error at all", TRACEBACK.format(release="1", line=9)) == "in charge (shop/tasks.py)"


@pytest.mark.parametrize(("function", "length"), [(150, 180), (170, 200), (171, 200), (199, 200)])
def test_a_long_one_is_cut(function: int, length: int) -> None:
    """Its first two hundred characters are it."""
    frame = f'  File "/srv/shop/tasks.py", line 1, in {"f" * function}\n'
    whole = f"ValueError in {'f' * function} (shop/tasks.py)"
    assert fingerprint_of("ValueError: x", frame) == whole[:length]
    assert len(whole[:length]) == length


def test_one_that_is_cut_at_a_space_ends_before_it() -> None:
    """Or it would be another than the same one, typed."""
    frame = f'  File "/srv/shop/tasks.py", line 1, in {"f" * 185}\n'
    assert fingerprint_of("ValueError: x", frame) == f"ValueError in {'f' * 185}"


@given(st.text(), st.text())
def test_any_text_has_one(error: str, traceback: str) -> None:
    """Of bounded length, on one line."""
    found = fingerprint_of(error, traceback)
    assert len(found) <= 200
    assert "\n" not in found
