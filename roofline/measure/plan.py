"""What is measured: single ops over sizes and alignments, and small networks, chosen to tell the constants apart.

A case is data: a backend builds it. Which constant a family of cases determines is said beside the family.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from roofline.errors import InputError
from roofline.names import lookup

Size: TypeAlias = Literal["small", "full"]
SIZES: tuple[Size, ...] = ("small", "full")
#: arithmetic of the largest single op [FLOP]: a fiftieth of a second of a core, a few milliseconds of an accelerator
LARGEST_FLOPS = {"cpu": 2.5e9, "gpu": 4e11, "tpu": 4e11}
#: elements of the largest copy: beyond the last cache of a host, beyond the L2 of an accelerator
LARGEST_ELEMENTS = {"cpu": 2**25, "gpu": 2**28, "tpu": 2**28}
#: images per run of a network
BATCHES = {"cpu": (1, 3, 8), "gpu": (1, 8, 32, 128), "tpu": (1, 8, 32, 128)}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing to time.

    Attributes
    ----------
    build
        What a backend makes of `sizes`: a name of `OPS` or of `NETWORKS`.
    sizes
        What the builder takes; see the comments of the plan.
    network
        Whether it is a whole program: then its time holds the host's part too.
    compiled
        Whether the runtime compiles it first.
    """

    build: str
    sizes: tuple[int, ...]
    family: str
    dtype: str = "fp32"
    batch: int = 1
    network: bool = False
    compiled: bool = False

    @property
    def name(self) -> str:
        """What the case is called in the folder: unique there."""
        shape = "x".join(map(str, self.sizes))
        words = [self.build, shape, f"b{self.batch}" if self.network else "", self.dtype]
        return " ".join(word for word in [*words, "compiled" if self.compiled else ""] if word)


def _products(large: float) -> Iterator[Case]:
    """Rates of the matrix units, waves and tiles, padding of odd sizes, operands that do not fit into a cache."""
    shapes = [(64,) * 3, (128,) * 3, (256,) * 3, (512,) * 3, (1024,) * 3, (2048,) * 3, (4096,) * 3]  # m, n, k
    shapes += [(196, 384, 192), (197, 768, 192), (197, 577, 193), (784, 96, 384), (1568, 384, 1536), (49, 768, 3072)]
    shapes += [(1, 1000, 2048), (8, 1000, 1280), (16, 4096, 1024), (3136, 128, 128), (8192, 4096, 1024)]
    yield from (_op("matmul", s, "matmul") for s in shapes if 2.0 * s[0] * s[1] * s[2] <= large)
    batched = [(12, 197, 197, 64), (48, 49, 49, 32), (96, 197, 64, 197), (256, 512, 512, 64)]  # batch, m, n, k
    yield from (_op("bmm", s, "bmm") for s in batched if 2.0 * s[0] * s[1] * s[2] * s[3] <= large)


def _convolutions(large: float) -> Iterator[Case]:
    """What taps cost beside channels, small images, groups: n, channels, size, outputs, kernel, stride, groups."""
    shapes = [(1, 3, 224, 32, 3, 2, 1), (8, 3, 224, 64, 7, 2, 1), (1, 64, 56, 64, 3, 1, 1), (8, 64, 56, 64, 3, 1, 1)]
    shapes += [(1, 128, 28, 128, 3, 1, 1), (4, 128, 28, 128, 3, 1, 1), (1, 256, 14, 256, 3, 1, 1)]
    shapes += [
        (4, 256, 14, 256, 3, 1, 1),
        (1, 512, 7, 512, 3, 1, 1),
        (8, 512, 7, 512, 3, 1, 1),
        (1, 96, 28, 96, 5, 1, 1),
    ]
    shapes += [(4, 128, 56, 128, 3, 2, 1), (1, 128, 28, 128, 3, 1, 32), (4, 256, 28, 256, 3, 1, 32)]
    shapes += [(64, 256, 28, 256, 3, 1, 1), (256, 64, 56, 64, 3, 1, 1), (128, 512, 14, 512, 3, 1, 1)]
    yield from (_op("conv", s, "conv") for s in shapes if _conv_flops(s) <= large)
    narrow = [(1, 64, 56, 64), (1, 24, 56, 144), (8, 16, 112, 96), (1, 160, 7, 960), (8, 240, 14, 80), (8, 40, 14, 240)]
    narrow += [(1, 256, 28, 512), (1, 1024, 14, 256), (4, 512, 14, 256), (1, 576, 14, 97), (64, 96, 28, 384)]
    ones = [(n, c, size, out, 1, 1, 1) for n, c, size, out in narrow]
    yield from (_op("conv", s, "conv1x1") for s in ones if _conv_flops(s) <= large)


def _conv_flops(s: Sequence[int]) -> float:
    n, c, size, out, kernel, stride, groups = s
    return 2.0 * n * out * (size // stride) ** 2 * kernel**2 * c / groups


def _depthwise(elements: int) -> Iterator[Case]:
    """Loads of sliding windows: depthwise convolutions and pooling. n, channels, size, kernel, stride."""
    shapes = [(n, *rest) for n in (1, 8, 64) for rest in ((96, 112, 3, 2), (144, 56, 3, 1), (480, 14, 5, 1))]
    shapes += [(n, *rest) for n in (1, 8, 64) for rest in ((32, 112, 3, 1), (960, 7, 5, 1), (192, 28, 7, 1))]
    yield from (_op("depthwise", s, "depthwise") for s in shapes if s[0] * s[1] * s[2] ** 2 <= elements)
    pools = [(1, 64, 112, 3, 2), (8, 64, 112, 3, 2), (8, 192, 28, 3, 1)]
    yield from (_op("max_pool", s, "pool") for s in pools)


def _pointwise(elements: int) -> Iterator[Case]:
    """Rates of simple and transcendental functions; where every cache ends, and how a transfer starts."""
    ramp = [2**power for power in range(14, 30) if 2**power <= elements]
    yield from (_op("stream", (n,), "stream") for n in ramp)
    yield from (_op("add", (n,), "pointwise") for n in ramp[::3])
    for function in ("relu", "relu6", "hard_swish", "sigmoid", "silu", "gelu", "tanh", "exp"):
        yield from (_op(function, (n,), "pointwise") for n in (2**14, 2**18, 2**22) if n <= elements)


def _rows(elements: int) -> Iterator[Case]:
    """Reductions, norms and copies in another order: tensors of n, channels, size or of n, rows, columns."""
    images = [(1, 64, 56), (8, 64, 56), (1, 512, 7), (8, 512, 14), (64, 256, 28)]
    for build in ("batch_norm", "mean", "scale", "concat", "to_rows"):
        yield from (_op(build, s, build) for s in images if s[0] * s[1] * s[2] ** 2 <= elements)
    rows = [(1, 197, 192), (8, 197, 384), (8, 49, 768), (64, 197, 768)]
    yield from (_op("layer_norm", s, "layer_norm") for s in rows if s[0] * s[1] * s[2] <= elements)
    scores = [(3, 197, 197), (48, 197, 197), (96, 49, 49), (768, 197, 197)]
    yield from (_op("softmax", s, "softmax") for s in scores if s[0] * s[1] * s[2] <= elements)
    heads = [(1, 3, 197, 64), (8, 6, 197, 64), (1, 12, 128, 64), (64, 12, 197, 64)]  # n, heads, tokens, width
    yield from (_op("attention", s, "attention") for s in heads if s[0] * s[1] * s[2] * s[3] <= elements)


#: networks of the plan: (builder, (width, depth or the like, size of the images or number of tokens))
NETWORKS: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("plain", (48, 2, 128)),
    ("residual", (48, 2, 160)),
    ("bottleneck", (32, 2, 160)),
    ("grouped", (64, 1, 160)),
    ("inverted", (24, 2, 192)),
    ("squeezed", (20, 2, 160)),
    ("dense", (24, 4, 128)),
    ("large_kernel", (64, 2, 160)),
    ("vision_transformer", (384, 3, 192)),
    ("explicit_attention", (192, 3, 128)),
    ("language", (512, 2, 96)),
    ("mixer", (512, 2, 192)),
    ("branches", (32, 2, 128)),
    ("windows", (96, 2, 112)),
)


def _op(build: str, sizes: tuple[int, ...], family: str) -> Case:
    return Case(build=build, sizes=sizes, family=family)


def _networks(kind: str) -> Iterator[Case]:
    """Whole programs: what a kernel costs at least, what the host costs, what stays in a cache between kernels."""
    for batch in BATCHES[kind]:
        for build, sizes in NETWORKS:
            yield Case(build=build, sizes=sizes, family=build, batch=batch, network=True)
    if kind != "cpu":  # there the host is the device
        yield Case(build="tiny_ops", sizes=(300,), family="tiny_ops", network=True)


def plan(
    kind: str, *, size: Size = "full", dtypes: Iterable[str] = ("fp32",), compiled: bool = False, networks: bool = True
) -> list[Case]:
    """Return the cases of a kind of device, single ops first.

    Parameters
    ----------
    kind
        ``cpu``, ``gpu`` or ``tpu``: how large things are.
    size
        ``full``, or ``small``: every third op, and networks at one batch on smaller inputs; for a first look.
    dtypes
        Formats; every case is measured in each.
    compiled
        Networks also compiled by the runtime.

    Raises
    ------
    InputError, UnknownNameError
        No such kind or size.
    """
    known = lookup(size, {name: name for name in SIZES}, "size of the plan")
    if kind not in BATCHES:
        raise InputError(f"no plan for a device of kind {kind!r}; allowed: {', '.join(map(repr, BATCHES))}")
    large, elements = LARGEST_FLOPS[kind], LARGEST_ELEMENTS[kind]
    single: list[Case] = []
    sources: tuple[Callable[[], Iterator[Case]], ...] = (
        lambda: _products(large),
        lambda: _convolutions(large),
        lambda: _depthwise(elements // 2),
        lambda: _pointwise(elements),
        lambda: _rows(elements // 2),
    )
    for source in sources:
        single += source()
    whole = list(_networks(kind)) if networks else []
    if known == "small":
        single = [c for c in single if c.family == "stream"] + [c for c in single if c.family != "stream"][::2]
        whole = [replace(c, sizes=(*c.sizes[:-1], max(64, c.sizes[-1] // 2))) for c in whole if c.batch <= 3]
    found = [replace(c, dtype=dtype) for dtype in dtypes for c in (*single, *whole)]
    if compiled:
        found += [replace(c, compiled=True) for c in found if c.network]
    return found
