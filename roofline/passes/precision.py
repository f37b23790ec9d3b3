"""Storage formats: everything in one dtype, per-op casts as autocast inserts them, or what the program states."""

from __future__ import annotations

from dataclasses import replace

from roofline.dtypes import DTYPES, DType, Precision
from roofline.graph.indexing import Scan, Update
from roofline.graph.movement import Concat
from roofline.graph.op import Op
from roofline.graph.opgraph import OpGraph
from roofline.graph.ops import Attention, BatchNorm, Cast, Conv, Elementwise, MatMul, Norm, Reduce, Softmax, Statistic
from roofline.graph.resampling import ConvTranspose
from roofline.graph.tensor import Tensor
from roofline.passes.policy import Policy
from roofline.passes.rewrite import Rewriter

#: floats of fewer bits are quantized: their program says where
QUANTIZED_BELOW = 16
#: PyTorch's CUDA autocast lists (docs, torch.amp): these run in the low precision ...
LOW_PRECISION_OPS: tuple[type[Op], ...] = (Conv, ConvTranspose, MatMul, Attention)
LOW_PRECISION_FUNCTIONS = frozenset({"lstm_cell", "gru_cell"})
#: ... these in fp32, the rest in the widest dtype of its operands
FULL_PRECISION_OPS: tuple[type[Op], ...] = (Norm, Softmax, Scan)
#: ops whose operands are converted by kernels of their own; element-wise kernels read mixed formats, write the widest
CASTING_OPS: tuple[type[Op], ...] = (*LOW_PRECISION_OPS, *FULL_PRECISION_OPS, Concat, Update)
FULL_PRECISION_FUNCTIONS = frozenset(
    {
        "mse_loss",
        "smooth_l1_loss",
        "huber_loss",
        "binary_cross_entropy",
        "exp",
        "log",
        "pow",
        "square",
        "cube",
        "rsqrt",
        "reciprocal",
        "softplus",
        "erf_inv",
    }
)
FULL_PRECISION_REDUCTIONS = frozenset({"sum", "prod", "norm"})


def apply_precision(graph: OpGraph, policy: Policy) -> OpGraph:
    """Return `graph` stored in the precision of the run; integers and quantized tensors keep their format."""
    precision = policy.precision
    if precision.own:
        return graph
    return _autocast(graph, precision) if precision.autocast else _cast_all(graph, precision.compute)


def _follows(tensor: Tensor) -> bool:
    """Whether a tensor has the format of the run: integers, complex numbers and quantized floats keep their own."""
    return tensor.dtype.kind == "float" and tensor.dtype.bits >= QUANTIZED_BELOW


def _cast_all(graph: OpGraph, dtype: DType) -> OpGraph:
    tensors = {t.id: t.cast(dtype) if _follows(t) else t for t in graph.tensors.values()}
    return OpGraph(graph.ops, tensors, graph.outputs, graph.name)


def _autocast(graph: OpGraph, precision: Precision) -> OpGraph:
    """Insert a cast wherever an op's operand has another dtype; each tensor is cast once, weights at every run."""
    new = Rewriter(graph)
    casts: dict[tuple[str, str], str] = {}
    for op_id, op in graph.ops.items():
        wanted = _wanted(op, precision, [new.tensors[new.now(t)] for t in op.inputs])
        inputs = tuple(new.now(t) for t in op.inputs)
        if isinstance(op, CASTING_OPS):
            inputs = tuple(_cast_to(new, casts, t, wanted, op_id) for t in inputs)
        new.keep(op_id, replace(op, inputs=inputs) if inputs != op.inputs else op)
        if isinstance(op, Cast):  # the program's own: its output has the format it asks for
            continue
        for out in op.outputs:
            new.put(new.tensors[out].cast(wanted) if _follows(new.tensors[out]) else new.tensors[out])
    return new.result()


def _wanted(op: Op, precision: Precision, inputs: list[Tensor]) -> DType:
    function = getattr(op, "function", None)
    pointwise = isinstance(op, Elementwise)
    if isinstance(op, LOW_PRECISION_OPS) or (pointwise and function in LOW_PRECISION_FUNCTIONS):
        return precision.compute
    if isinstance(op, Norm) and op.low_precision:
        return precision.compute
    reduces = isinstance(op, (Reduce, Statistic)) and function in FULL_PRECISION_REDUCTIONS
    if isinstance(op, FULL_PRECISION_OPS) or reduces or (pointwise and function in FULL_PRECISION_FUNCTIONS):
        return precision.storage
    first_only = isinstance(op, BatchNorm) or (isinstance(op, Elementwise) and op.keeps_dtype)
    operands = inputs[:1] if first_only else [t for t in inputs if t.shape] or inputs  # a number widens no tensor
    return max((t.dtype for t in operands if _follows(t)), key=lambda d: d.bits, default=DTYPES["fp32"])


def _cast_to(new: Rewriter, casts: dict[tuple[str, str], str], tensor_id: str, dtype: DType, reader: str) -> str:
    tensor = new.tensors[tensor_id]
    if tensor.dtype.name == dtype.name or not _follows(tensor):
        return tensor_id
    done = casts.get((tensor_id, dtype.name))
    if done is None:
        op_id = f"{reader}.{tensor_id.rpartition('/')[2]}.to_{dtype.name}"
        done = f"{op_id}:0"
        new.put(Tensor(id=done, shape=tensor.shape, dtype=dtype))
        view = new.ops.get(new.graph.producers.get(tensor_id, ""))
        if view is not None and view.family == "free":  # the viewed tensor is converted, not each view of it
            source = _cast_to(new, casts, view.inputs[0], dtype, reader)
            new.ops[op_id] = replace(view, inputs=(source, *view.inputs[1:]), outputs=(done,))
        else:
            new.ops[op_id] = Cast(inputs=(tensor_id,), outputs=(done,), times=new.graph.op(reader).times)
        casts[tensor_id, dtype.name] = done
    return done
