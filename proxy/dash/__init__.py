"""What Dash says of itself, and what of it is trusted."""
