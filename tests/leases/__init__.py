"""Everything that is taken is given back, wherever it is cancelled: each way through both, at each of its awaits.

``stage`` counts the awaits and disturbs one of them, ``peers`` are the client and the upstream, ``ledger`` knows what
is counted inside, ``ways`` has the list of ways (add yours there), ``harness`` runs them.
"""
