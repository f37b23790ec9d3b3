"""Somebody else's program -> op graph."""
