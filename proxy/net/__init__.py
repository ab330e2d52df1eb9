"""Below HTTP: TLS, timers, names, and limits for each client."""
