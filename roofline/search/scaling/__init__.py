"""Scaling a base network in depth, width and resolution to a family."""
