"""What ``make check`` checks of this repository alone: its vocabulary, and that aiohttp is used as its manual says."""
