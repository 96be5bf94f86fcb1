"""What a hardened app changes inside Celery's worker: requests and boot steps."""
