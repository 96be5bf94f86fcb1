"""Where an error context is seen: in logs, on exceptions, on spans; and its secrets are not."""

from __future__ import annotations

import dataclasses
import json
import logging
import traceback
from contextlib import suppress
from email.message import Message
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

import pytest
import structlog
from celery import Celery
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from hardening import harden
from hardening.context import ContextFilter, add_error_context, breadcrumb, error_context
from hardening.core import deployment
from hardening.core.context_header import HEADER

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _no_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests' apps say nothing here of what is secret."""
    monkeypatch.setattr(deployment, "_hardened", set())


@pytest.fixture
def handler() -> Iterator[logging.Handler]:
    """Keeps its lines in ``lines``."""

    class Keeping(logging.Handler):
        lines: list[str]

        def emit(self, record: logging.LogRecord) -> None:
            self.lines.append(self.format(record))

    handler = Keeping()
    handler.lines = []
    handler.addFilter(ContextFilter())
    handler.setFormatter(logging.Formatter("%(message)s|%(correlation_id)s|%(operation)s|%(error_context)s"))
    logger = logging.getLogger("tests.context")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def test_log_lines_have_it(handler: Any) -> None:
    """On one line, whatever is in it."""
    logger = logging.getLogger("tests.context")
    logger.warning("before")
    with error_context("ship", correlation_id="abc", order=17, note="two\nlines", api_key="x", ids=[1, 2]):
        logger.warning("inside")
    assert handler.lines == [
        "before|||",
        'inside|abc|ship|correlation_id=abc operation=ship order=17 note="two\\nlines" api_key=*** ids=[1, 2]',
    ]


def test_log_records_have_its_fields(handler: Any) -> None:
    """For formatters that write JSON."""
    record = logging.LogRecord("n", logging.INFO, "", 0, "", (), None)
    with error_context(order=17, api_key="x"):
        assert handler.filter(record)
    assert vars(record)["error_fields"] == {"order": 17, "api_key": "***"}
    with error_context():
        pass
    assert handler.filter(record)
    assert vars(record)["error_fields"] == {}


def test_an_operation_that_nobody_named_is_not_shown(handler: Any) -> None:
    """Nor is an empty field."""
    with error_context(correlation_id="abc", empty=""):
        logging.getLogger("tests.context").warning("x")
    assert handler.lines == ["x|abc||correlation_id=abc"]


def test_structlog_has_it() -> None:
    """What the event says itself stays; what was bound does, too."""
    kept = structlog.testing.CapturingLogger()
    log = structlog.wrap_logger(kept, processors=[add_error_context, structlog.processors.JSONRenderer()])
    log = log.bind(shop="eu")
    log.info("before")
    with error_context("ship", correlation_id="abc", api_key="x", order=1):
        log.warning("inside", operation="own")
    lines = [json.loads(call.args[0]) for call in kept.calls]
    assert lines == [
        {"event": "before", "shop": "eu"},
        {
            "event": "inside", "shop": "eu", "operation": "own", "correlation_id": "abc",
            "error_context": {"api_key": "***", "order": 1},
        },
    ]  # fmt: skip


def test_an_exception_that_leaves_blocks_is_noted_once() -> None:
    """By the innermost, with the breadcrumbs until then."""

    def fail() -> None:
        with error_context("outer", correlation_id="abc"):
            breadcrumb("begun", at=1)
            with error_context("inner", card="4711"):
                breadcrumb("card=4711 ch\narged", api_key="x")
                raise ValueError("no")

    with pytest.raises(ValueError, match="no") as caught:
        fail()
    first, *crumbs = caught.value.__notes__[0].split("\n")
    assert first == "error context: correlation_id=abc operation=inner card=***"
    assert crumbs == ["  - begun at=1", '  - "card=*** ch\\narged" api_key=***']
    assert len(caught.value.__notes__) == 1
    assert "operation=inner" in "".join(traceback.format_exception(caught.value))


def test_what_is_no_error_is_not_noted() -> None:
    """Somebody presses Ctrl-C, or a generator is closed."""
    with pytest.raises(KeyboardInterrupt) as caught, error_context("outer"):
        raise KeyboardInterrupt
    assert not hasattr(caught.value, "__notes__")


def test_an_exception_that_cannot_be_written_to_is_raised_as_it_is() -> None:
    """And so is one with odd notes."""

    @dataclasses.dataclass(frozen=True)
    class Frozen(Exception):
        code: int

    with pytest.raises(Frozen), error_context("outer"):
        raise Frozen(7)
    with pytest.raises(HTTPError), error_context("outer"):  # until Python 3.12 asking it for notes raises a KeyError
        raise HTTPError("", 404, "", Message(), None)
    odd = ValueError("odd")
    odd.__notes__ = [7]  # type: ignore[list-item]
    with suppress(ValueError), error_context("outer", correlation_id="abc"):
        raise odd
    assert odd.__notes__[1] == "error context: correlation_id=abc operation=outer"


def test_what_is_secret_is_what_the_apps_of_the_process_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of those in use; without one, what is secret by default."""
    with error_context(correlation_id="abc", api_key="x", zip="12345", shoe=44) as here:
        said = here.packed()
    masked = deployment.redactor_here
    assert masked().value(said)["fields"] == {"api_key": "***", "zip": "12345", "shoe": 44}
    monkeypatch.setattr(deployment, "_hardened", set())
    apps = []
    for names in ((), ("zip",), ("shoe",)):
        app = Celery(f"app-{names}", broker="redis://localhost:1/0", set_as_current=False)
        app.conf.hardening_redact = names
        apps.append(harden(app))
        if len(apps) == 1:
            assert masked().value(said)["fields"] == said["fields"]
    assert masked().value(said)["fields"] == {"api_key": "x", "zip": "***", "shoe": "***"}
    apps[1].close()
    assert masked().value(said)["fields"] == {"api_key": "x", "zip": "12345", "shoe": "***"}
    for app in apps:
        app.close()


@pytest.fixture
def provider() -> Iterator[TracerProvider]:
    """OpenTelemetry's own; what it has recorded is in ``spans``."""
    provider: Any = TracerProvider()
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.spans = lambda: {span.name: dict(span.attributes or {}) for span in exporter.get_finished_spans()}
    yield provider
    provider.shutdown()


def test_a_span_has_it(provider: Any) -> None:
    """As attributes that OpenTelemetry takes; the span around has them no more than the one beside."""
    tracer = provider.get_tracer("tests")
    with tracer.start_as_current_span("around"):
        with (
            tracer.start_as_current_span("inside"),
            error_context(
                "ship", correlation_id="abc", order=17, api_key="x", ids=[1], nobody=None, rate=0.5, is_new=True
            ),
        ):
            pass
        with tracer.start_as_current_span("beside"):
            pass
    assert provider.spans() == {
        "inside": {
            "hardening.correlation_id": "abc",
            "hardening.operation": "ship",
            "hardening.context.order": 17,
            "hardening.context.api_key": "***",
            "hardening.context.ids": "[1]",
            "hardening.context.rate": 0.5,
            "hardening.context.is_new": True,
        },
        "beside": {},
        "around": {},
    }


def test_a_span_has_what_came_with_a_task(provider: Any) -> None:
    """From when it is first read."""
    app = Celery("traced", broker="memory://", set_as_current=False)

    @app.task(name="task", shared=False)
    def task() -> None:
        with provider.get_tracer("tests").start_as_current_span("run"):
            breadcrumb("begun")

    task.apply(headers={HEADER: {"correlation_id": "abc", "operation": "ship"}}).get()  # type: ignore[dict-item]
    app.close()
    assert provider.spans() == {"run": {"hardening.correlation_id": "abc", "hardening.operation": "ship"}}


def test_a_span_that_is_not_recorded_is_left_alone() -> None:
    """Most are not; and outside of all there is one, too, that records nothing."""
    tracer = TracerProvider(sampler=ALWAYS_OFF).get_tracer("tests")
    with tracer.start_as_current_span("unsampled") as span, error_context(order=17):
        assert not span.is_recording()
    with error_context(order=17):
        pass
