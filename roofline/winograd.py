"""Winograd's algorithm F(4 x 4, 3 x 3): squares of 4 x 4 outputs from squares of 6 x 6 inputs.

Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, arXiv 1509.09308; the variant whose
transforms are kernels of their own in cuDNN (CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED).
"""

from __future__ import annotations

#: outputs of a patch, and elements of the window, along a side
PATCH, WINDOW = 4, 3
#: numbers that stand for a patch, and for a window, between the transforms: one product each
POINTS = (PATCH + WINDOW - 1) ** 2
