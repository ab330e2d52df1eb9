"""``check`` and ``check --live``: findings about a config file, and about programs that run by it."""
