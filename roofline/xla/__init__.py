"""What XLA's own compiler makes of a program for a TPU that is not there: compiled ahead of time, read as kernels."""
