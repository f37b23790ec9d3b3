"""Programs that options name: imported, given shapes, and lowered by the front end of their framework."""

from __future__ import annotations

import importlib
import inspect
import math
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roofline.dtypes import DType
from roofline.dtypes import dtype as named_dtype
from roofline.errors import InputError, RooflineError
from roofline.text import pairs

if TYPE_CHECKING:
    from roofline.graph.opgraph import OpGraph

#: the frameworks' names of our formats
FORMATS = pairs("fp64=float64 fp32=float32 bf16=bfloat16 fp16=float16 int64 int32 int8 bool")
MAX_ELEMENTS = 2**40


@dataclass(frozen=True, kw_only=True)
class Source:
    """What the options of a front end say; at most one of the first five names a program."""

    onnx: Path | None = None
    torch: str | None = None
    jax: str | None = None
    graph: Path | None = None
    huggingface: Path | None = None
    shapes: tuple[str, ...] = ()
    dims: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    cache: Path | None = None
    examples: int | None = None

    @property
    def kind(self) -> str | None:
        """The option that names the program.

        Raises
        ------
        InputError
            Several do, or an option of another front end is given.
        """
        given = [name for name in ("onnx", "torch", "jax", "huggingface", "graph") if getattr(self, name) is not None]
        if len(given) > 1:
            raise InputError(f"give one program: --{' and --'.join(given)} were given")
        kind = given[0] if given else None
        if self.shapes and kind not in ("onnx", "torch", "jax"):
            raise InputError("--input-shape belongs to --torch and --jax, and with a name to --onnx")
        if self.dims and kind != "onnx":
            raise InputError("--dim belongs to --onnx; use --input-shape with --torch and --jax")
        if self.values and kind != "onnx":
            raise InputError("--value belongs to --onnx; use example inputs with --torch and --jax")
        return kind

    def pins(self) -> dict[str, Any]:
        """Return what is said of the inputs of an ONNX file, as `roofline.from_onnx` takes it.

        Raises
        ------
        InputError
            An option is not of its form.
        """
        shapes = {}
        for text in self.shapes:
            name, _, sizes = text.rpartition("=")
            if not name or ":" in sizes:
                raise InputError(f"--input-shape of --onnx takes NAME=SIZES such as x=8x3x224x224, got {text!r}")
            shapes[name] = parse_shape(sizes)[0]
        return {"dims": {**parse_dims(self.dims), **shapes}, "values": parse_values(self.values)}


def parse_shape(text: str) -> tuple[tuple[int, ...], DType]:
    """Return the sizes and the dtype of ``8x3x224x224`` or ``8x128:int32``.

    Raises
    ------
    InputError
        Not sizes with x between them.

    Examples
    --------
    >>> sizes, dtype = parse_shape("8x128:int32")
    >>> sizes, dtype.name
    ((8, 128), 'int32')
    """
    sizes, _, name = text.partition(":")
    if not re.fullmatch(r"\d{1,9}([x,]\d{1,9})*", sizes):
        raise InputError(f"--input-shape takes sizes such as 8x3x224x224 or 8x128:int32, got {text!r}")
    shape = tuple(int(d) for d in re.split("[x,]", sizes))
    if math.prod(shape) > MAX_ELEMENTS:
        raise InputError(f"--input-shape {text!r} has more than 2**40 elements")
    found = named_dtype(name or "fp32")
    if found.name not in FORMATS:
        raise InputError(f"--input-shape {text!r}: dtype is one of {', '.join(FORMATS)}")
    return shape, found


def parse_dims(texts: Sequence[str]) -> dict[str, int]:
    """Return name -> size of ``N=8``.

    Raises
    ------
    InputError
        Not a name and a whole number.
    """
    found: dict[str, int] = {}
    for text in texts:
        name, _, size = text.rpartition("=")
        if not name or not re.fullmatch(r"\d{1,9}", size):
            raise InputError(f"--dim takes NAME=SIZE with a whole number, got {text!r}")
        found[name] = int(size)
    return found


def parse_values(texts: Sequence[str]) -> dict[str, Any]:
    """Return name -> number or list of numbers of ``sr=16000``, ``use_cache=true``, ``sizes=1,3,64,64``.

    Raises
    ------
    InputError
        Not a name and numbers.

    Examples
    --------
    >>> parse_values(["sr=16000", "cached=true", "sizes=1,3,64,64"])
    {'sr': 16000, 'cached': True, 'sizes': [1, 3, 64, 64]}
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        try:
            numbers = [_number(word) for word in value.split(",")]
        except ValueError:
            numbers = []
        if not name or not numbers:
            raise InputError(f"--value takes NAME=NUMBER, or numbers with commas between them, got {text!r}")
        found[name] = numbers if "," in value else numbers[0]
    return found


def _number(word: str) -> float:
    """Return the number in a word, as narrow as it is written: true, 3, 0.5."""
    choices = {"true": True, "false": False}
    if word.strip().lower() in choices:
        return choices[word.strip().lower()]
    if re.fullmatch(r"\s*-?\d{1,18}\s*", word):
        return int(word)
    return float(word)


def lower_onnx(source: Source) -> OpGraph:
    """Return the graph of the ONNX file, its dynamic dimensions pinned."""
    from roofline.frontends.onnx import from_onnx

    return from_onnx(str(source.onnx), **source.pins())


#: endings of files of PyTorch programs
PROGRAM_FILES = (".pt2", ".pt")


def lower_torch(source: Source) -> OpGraph:
    """Return the graph of a PyTorch module that a function returns, or of a saved program."""
    from roofline.frontends.torch import from_torch

    text = str(source.torch)
    if text.endswith(PROGRAM_FILES):
        return from_torch(text, _tensors(source) or None)
    made, inputs, name = _program(text, "--torch")
    return from_torch(made, _tensors(source) or _given(inputs, "--torch"), name=name)


def _tensors(source: Source) -> tuple[Any, ...]:
    import torch

    parsed = [parse_shape(s) for s in source.shapes]
    return tuple(torch.empty(shape, dtype=getattr(torch, FORMATS[d.name]), device="meta") for shape, d in parsed)


def lower_jax(source: Source) -> OpGraph:
    """Return the graph of a JAX function, or of the one that a function without arguments returns."""
    from roofline.frontends.jax import from_jax

    made, inputs = jax_program(source)
    return from_jax(made, *inputs, name=_attribute(str(source.jax)))


def jax_program(source: Source) -> tuple[Any, tuple[Any, ...]]:
    """Return a JAX function, or the one that a function without arguments returns, and the shapes of its inputs."""
    made, inputs, _ = _program(str(source.jax), "--jax")
    specs: Any = None
    if source.shapes:
        import jax

        parsed = [parse_shape(s) for s in source.shapes]
        specs = [jax.ShapeDtypeStruct(shape, FORMATS[d.name]) for shape, d in parsed]  # type: ignore[no-untyped-call]
    given = _given(specs if specs is not None else inputs, "--jax")
    return made, tuple(given) if isinstance(given, (tuple, list)) else (given,)


def _given(inputs: Any, option: str) -> Any:
    if inputs is None:
        raise InputError(f"{option} needs --input-shape, or a function that returns (program, example inputs)")
    return inputs


def _program(text: str, option: str) -> tuple[Any, Any, str]:
    """Return what ``package.module:function`` makes, its example inputs (or None), and its name."""
    module, _, attribute = text.partition(":")
    if not re.fullmatch(r"[\w.]+", module) or not re.fullmatch(r"[\w.]+", attribute):
        raise InputError(f"{option} takes package.module:function, got {text!r}")
    with here(), blamed(f"{option} {text!r}"):
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            if not hasattr(found, part):
                raise InputError(f"{option}: module {module!r} has no {attribute!r}")
            found = getattr(found, part)
        made = found() if _makes(found, option) else found
    inputs = None
    if isinstance(made, tuple) and len(made) == 2:
        made, inputs = made
    if not callable(made):
        raise InputError(f"{option} {text!r} gives {type(made).__name__!r}, which is no program")
    return made, inputs, _attribute(text)


def _attribute(text: str) -> str:
    return text.rpartition(":")[2].rpartition(".")[2]


def _makes(found: Any, option: str) -> bool:
    """Whether something makes the program, rather than being it: a class, or a function without arguments."""
    if inspect.isclass(found):
        return True
    if not callable(found) or not (inspect.isfunction(found) or inspect.ismethod(found)):
        return False
    needed = [p for p in inspect.signature(found).parameters.values() if p.default is p.empty and p.kind not in (2, 4)]
    return not needed


@contextmanager
def here() -> Iterator[None]:
    """Import from the current directory too, as ``python -m`` does."""
    path = os.getcwd()
    sys.path.insert(0, path)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(path)


@contextmanager
def blamed(what: str) -> Iterator[None]:
    """Turn whatever a user's module raises into one line."""
    try:
        yield
    except (RooflineError, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit too: the module may not end the command
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{what} failed: {type(error).__name__}: {reason}") from error
