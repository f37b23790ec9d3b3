"""The program: typed ops over tensors in a checked networkx graph."""
