"""The process: it is built, started, reloaded and stopped here; signals, health checks, logs."""
