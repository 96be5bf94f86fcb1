"""``celery -A APP hardening``: where every message is, whether the ledger balances, what is set."""
