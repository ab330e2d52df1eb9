"""What is released: the wheel, the sdist, and what a reader of the README does with them."""
