"""Tests against real Redis servers."""
