"""The documents: each block of code is run, and the site is built, strictly, and opened in Chromium."""
