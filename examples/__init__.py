"""Programs that show what the library is for. Each is a package to run: ``python -m examples.webhooks``."""
