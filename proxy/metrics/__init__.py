"""What ``/metrics`` of the admin listener tells Prometheus: counts of exchanges, and what other parts know already."""
