"""The user's own app: imported, checked, and served without what is Dash's own."""
