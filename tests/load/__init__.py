"""What the gateway must bear: ``make load``. The soak (``tests/soak``) is built of the same parts."""
