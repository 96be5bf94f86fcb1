"""Agents: named actors with a mailbox, hosted by workers."""
