"""ONNX files as op graphs: weights are never read, shapes are inferred here, nothing outside the folder is opened."""

from __future__ import annotations

from roofline.frontends.onnx.api import from_onnx, traced
from roofline.frontends.onnx.registry import Node, lowering

__all__ = ["Node", "from_onnx", "lowering", "traced"]
