"""What was being done, for whom, and what happened on the way: known wherever something goes wrong."""

from __future__ import annotations

from hardening.context.here import Breadcrumb, ErrorContext, breadcrumb, current, error_context
from hardening.context.logs import ContextFilter, add_error_context
from hardening.core.travel import carry

__all__ = [
    "Breadcrumb",
    "ContextFilter",
    "ErrorContext",
    "add_error_context",
    "breadcrumb",
    "carry",
    "current",
    "error_context",
]
