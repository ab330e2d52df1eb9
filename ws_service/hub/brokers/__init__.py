"""Brokers: the order of publications, history and presence, for one process or several."""
