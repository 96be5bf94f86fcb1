"""Agents: named actors with mailboxes, hosted by workers, and the signals that reach them."""
