"""What Dash says about itself in its page."""
