"""Measure the gateway beside other proxies, on this machine: ``python -m benchmarks``.

``docs/performance.md`` is made of what it writes.
"""
