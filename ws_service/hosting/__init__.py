"""The user's own app: imported, checked, and served without Dash's own pages and middleware."""
