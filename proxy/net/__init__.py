"""Below HTTP: TLS, timers, host names, and limits for each client."""
