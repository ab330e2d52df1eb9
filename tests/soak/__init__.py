"""Everything that goes wrong, at once and for long: ``make soak``. Built of the parts of ``tests/load``."""
