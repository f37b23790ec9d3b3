"""Which inputs are images: those that reach a convolution or pool through element-wise operators."""

from __future__ import annotations

from onnx import GraphProto

from roofline.text import words

_IMAGE_OPERATORS = words(
    "Conv ConvTranspose MaxPool AveragePool LpPool BatchNormalization GlobalAveragePool GlobalMaxPool QLinearConv "
    "ConvInteger FusedConv DepthToSpace SpaceToDepth LRN InstanceNormalization GroupNormalization GridSample RoiAlign "
    "MaxRoiPool DeformConv MaxUnpool"
)
_PASSING = words(
    "Add Sub Mul Div Cast Identity QuantizeLinear DequantizeLinear DynamicQuantizeLinear Pad Resize Upsample Slice "
    "Concat Relu Clip Dropout"
)


def image_inputs(graph: GraphProto) -> set[str]:
    """Return the names of the inputs whose axes are (N, C, *spatial): stored channels last, like all images."""
    images: set[str] = set()
    for node in reversed(graph.node):
        passes = node.op_type in _PASSING and images.intersection(node.output)
        if node.input and (node.op_type in _IMAGE_OPERATORS or passes):
            images.update(node.input if node.op_type == "Concat" else node.input[:1])
    return images.intersection(i.name for i in graph.input)
