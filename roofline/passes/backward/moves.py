"""Ops that move or view data, and windows: their gradients move back."""

from __future__ import annotations

from roofline.graph.gradients import PoolGrad, ResizeGrad, SampleGrad, Scatter, SumTo
from roofline.graph.indexing import Gather, Sort, Update
from roofline.graph.movement import Concat, Embedding, Expand, Move, Part, Reshape, Slice, Window
from roofline.graph.ops import Pool
from roofline.graph.resampling import Pad, Resize
from roofline.graph.sampling import Fourier, Sample
from roofline.numeric import Numeric
from roofline.passes.backward.registry import backward
from roofline.passes.backward.tape import Step


@backward(Reshape)
def reshape(step: Step[Reshape]) -> None:
    """The gradient seen in the old shape."""
    step.give(0, step.view(step.dy, step.inputs[0].shape))


@backward(Part, Slice)
def part(step: Step[Part | Slice]) -> None:
    """A piece of the whole's gradient: all pieces are put together by one kernel."""
    step.give(0, step.dy, piece=True)


@backward(Expand)
def expand(step: Step[Expand]) -> None:
    """The sum over what was repeated."""
    if step.needs(0):
        step.give(0, step.add("dx", SumTo, step.dy, shape=step.inputs[0].shape))


@backward(Concat)
def concat(step: Step[Concat]) -> None:
    """Each operand's gradient is a view of its part."""
    axis = step.op.axis % len(step.inputs[0].shape)
    start: Numeric = 0
    for i, x in enumerate(step.inputs):
        size = x.shape[axis]
        if step.needs(i):
            step.give(i, step.add(f"d{i}", Part, step.dy, axis=axis, size=size, start=start))
        start = start + size


@backward(Move)
def move(step: Step[Move]) -> None:
    """A copy back into the old order."""
    step.give(0, step.add("dx", Move, step.dy, function=step.op.function, shape=step.inputs[0].shape))


@backward(Pad)
def pad(step: Step[Pad]) -> None:
    """The borders cut off again."""
    before, after = (tuple(0 - p for p in pads) for pads in (step.op.before, step.op.after))
    step.give(0, step.add("dx", Pad, step.dy, before=before, after=after))


@backward(Embedding)
def embedding(step: Step[Embedding]) -> None:
    """Rows added up in a table of zeros: libraries keep the table's gradient dense."""
    table = step.inputs[1]
    step.give(1, step.add("dw", Scatter, step.dy, step.x(0), shape=table.shape, accumulate=True, dtype=table))


@backward(Gather, Sort)
def gather(step: Step[Gather | Sort]) -> None:
    """Values added where they were picked."""
    x = step.inputs[0]
    indices = [step.x(i) for i in range(1, len(step.op.inputs))]
    step.give(0, step.add("dx", Scatter, step.dy, *indices, shape=x.shape, accumulate=True, dtype=x))


@backward(Window)
def window(step: Step[Window]) -> None:
    """What was shown more than once is added up."""
    x = step.inputs[0]
    step.give(0, step.add("dx", Scatter, step.dy, shape=x.shape, accumulate=True, dtype=x))


@backward(Update)
def update(step: Step[Update]) -> None:
    """The target loses the gradient of what was overwritten; the values get that of their places."""
    target, values = step.inputs[:2]
    indices = [step.x(i) for i in range(2, len(step.op.inputs))]
    if step.needs(1):
        run = step.op.side_by_side
        step.give(1, step.add("dvalues", Gather, step.dy, *indices, shape=values.shape, dtype=values, side_by_side=run))
    if step.needs(0):
        whole = (
            step.dy if step.op.accumulate else step.add("dtarget", Move, step.dy, function="zero", shape=target.shape)
        )
        step.give(0, whole)


@backward(Pool)
def pool(step: Step[Pool]) -> None:
    """A maximum looks for itself in x again (libraries save its place instead); a mean spreads its share."""
    op, x = step.op, step.inputs[0]
    saved = [step.x(0)] if op.function == "max" else []
    step.give(0, step.add("dx", PoolGrad, step.dy, *saved, shape=x.shape, kernel=op.kernel, dtype=x))


@backward(Resize)
def resize(step: Step[Resize]) -> None:
    """Each result gives its share to the neighbours that it was made of."""
    x = step.inputs[0]
    step.give(0, step.add("dx", ResizeGrad, step.dy, shape=x.shape, neighbours=step.op.neighbours))


@backward(Sample)
def sample(step: Step[Sample]) -> None:
    """The image as in an interpolation; places and factors look at the neighbours again."""
    op, image, count = step.op, step.inputs[0], step.op.neighbours * step.op.averaged
    if step.needs(0):
        places = [step.x(i) for i in range(1, len(op.inputs))]
        step.give(0, step.add("dx", ResizeGrad, step.dy, *places, shape=image.shape, neighbours=count, dtype=image))
    for i in range(1, len(op.inputs)):
        if step.needs(i):
            operand = step.inputs[i]
            found = step.add(
                f"d{i}", SampleGrad, step.dy, step.x(0), step.x(i), shape=operand.shape, neighbours=count, dtype=operand
            )
            step.give(i, found)


@backward(Fourier)
def fourier(step: Step[Fourier]) -> None:
    """The transform of the gradient: the matrix of the transform is symmetric."""
    op, x = step.op, step.inputs[0]
    fields = {"axis": op.axis, "length": op.length, "real": op.real, "pairs": op.pairs, "shape": x.shape}
    step.give(0, step.add("dx", Fourier, step.dy, dtype=x, **fields))
