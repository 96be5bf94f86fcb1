"""The ground everything stands on: settings, keys, scripts, telemetry, leases, a private Redis."""
