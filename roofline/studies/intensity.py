"""Operational intensity before any fusion: the definition under which the EfficientNet-X paper compares networks."""

from __future__ import annotations

from pathlib import Path

from roofline.arch.build import op_graph
from roofline.arch.spec import Arch
from roofline.dtypes import dtype as dtype_named
from roofline.graph.op import Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import Elementwise
from roofline.numeric import Numeric

#: images per run in the paper
PAPER_BATCH = 128


def naive_intensity(model: str | Path | Arch, batch: int = PAPER_BATCH, dtype: str = "bf16") -> float:
    """Return the operational intensity of a network without fusion [FLOP/byte].

    Every convolution and matrix product reads its input and writes its output once. Squeeze-and-excite adds one read
    and one write of the tensor that it gates; its own products count like any other (a thousandth of the bytes).
    Weights and biases are read once per run, so the batch shares them. Everything else (batch norm, activations,
    residual additions, pooling) is taken to ride along for nothing. I = 2 MACs / bytes.

    No device and no runtime is in it: `Report.intensity_flops_per_byte` has the traffic that a runtime's fusion leaves.

    Parameters
    ----------
    model
        Name or file of a network, or an `Arch`.
    batch
        Examples per run.
    dtype
        Storage format of every tensor.

    Raises
    ------
    UnknownNameError
        No such network or dtype.
    InputError
        The batch is out of range.

    Notes
    -----
    The definition is that of Li et al., arXiv 2102.05610, as far as its results table tells: the recalled intensities
    of EfficientNet B0-B7 and EfficientNet-X B0-B4 come out within 8.5 %; with residual additions counted, they do not.

    Examples
    --------
    >>> round(naive_intensity("efficientnet-b0"), 1), round(naive_intensity("efficientnet-x-b0"), 1)
    (21.2, 63.6)
    """
    return graph_intensity(op_graph(model, batch=batch), dtype)


def graph_intensity(network: OpGraph, dtype: str) -> float:
    """Return the naive operational intensity of an op graph before any pass [FLOP/byte]: see `naive_intensity`."""
    elements: Numeric = 0.0
    for op in network.ops.values():
        elements = elements + _elements(network, op)
    return float(2.0 * network.macs / (elements * dtype_named(dtype).bytes))


def _elements(network: OpGraph, op: Op) -> Numeric:
    """Return how many elements an op moves under the definition."""
    inputs, outputs = network.arguments(op)
    if op.products(inputs, outputs):
        return sum((t.elements for t in (*inputs, *outputs)), start=0.0)
    if isinstance(op, Elementwise) and op.function == "mul" and any(op.broadcast):
        return 2.0 * outputs[0].elements
    return 0.0
