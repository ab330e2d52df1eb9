"""What ``publish()`` is made of: data as JSON, the address of the hub, connections to it, and its outages."""
