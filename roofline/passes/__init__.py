"""Rewriting a graph for a runtime: an ordered list, ending in kernels with their traffic."""
