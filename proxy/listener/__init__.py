"""The listening side: addresses are bound, connections accepted, PROXY headers and ClientHellos read."""
