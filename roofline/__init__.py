"""How long does a network take on a TPU or GPU, why, and what would make it faster: an analytical simulator."""

__version__ = "0.1.0"
