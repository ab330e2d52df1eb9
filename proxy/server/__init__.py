"""The process: what is built, started, reloaded and stopped, in which order."""
