"""Searching a space: objectives, evolution and its history, fronts, results."""
