"""Measure the gateway beside other proxies, on this machine: ``python -m benchmarks``.

``docs/performance.md`` is made of what it writes. Who knows what:

- ``peers``       how each proxy is found, configured and started; ``install`` what pip cannot install
- ``processes``   children: where they run, when they are ready, that none is left behind
- ``accounting``  what a process costs, by the kernel's books
- ``wire``        the bytes of requests and frames
- ``origin``      what stands behind the proxies; ``load`` the clients in front of them
- ``workloads``   what is measured; ``run`` in which order, and what a failure costs
- ``rounds``      medians, spreads, ratios; ``results`` the file that keeps them
- ``targets``     what is expected; ``report`` and ``plots`` how it is shown
- ``machine``     cores and limits
- ``naive``       the baseline; ``echo_app`` and ``dash_page`` what a user would have written
"""
