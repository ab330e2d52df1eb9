"""Servers that send each message to every subscriber, as their documentation shows it: what the hub is compared with.

Each has WebSockets, and takes what it is to send by ``POST /publish``.
"""
