"""Exported programs in ``.pt2`` files, read without running what is in them.

A file holds a graph as JSON, tensors as bytes, and a pickled example. Here the JSON is copied field by field: names
must be plain, operators known, expressions arithmetic. Tensors are made from their shapes, and pickles are left out.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from typing import Any

import torch
from torch._export.serde import schema, serialize
from torch.utils import _pytree as pytree

from roofline.errors import RooflineError
from roofline.frontends.torch.archive import Archive, refuse_foreign
from roofline.frontends.torch.known import LIMIT_ELEMENTS
from roofline.text import words

_GRAPH, _WEIGHTS, _CONSTANTS = "models/model.json", "data/weights/", "data/constants/"
#: the characters of names; nothing that Python could take for code
_PLAIN = re.compile(r"[\w.+/-]*\Z")
_PYTHON = {
    "_operator": words("getitem add sub mul floordiv truediv mod pow neg pos eq ne lt le gt ge and_ or_ not_ abs"),
    "math": words("ceil floor trunc sqrt pow"),
    "torch": words("sym_float sym_int sym_ite sym_max sym_min sym_not sym_sqrt sym_sum _sym_sqrt"),
    "torch.ops.higher_order": words("wrap_with_set_grad_enabled wrap_with_autocast cond map_impl scan while_loop"),
}
#: functions of sizes; none that makes large numbers of small ones
_SIZES = words(
    "Add Mul Max Min Mod PythonMod ModularIndexing FloorDiv CleanDiv CeilDiv CeilToInt FloorToInt IntTrueDiv "
    "FloatTrueDiv TruncToFloat TruncToInt RoundToInt ToFloat Identity Where And Or Not Eq Equality Ne Unequality Gt Ge "
    "Lt Le StrictGreaterThan StrictLessThan GreaterThan LessThan Integer Float Rational floor ceiling Piecewise"
)
_VALUES = words("oo int_oo true false")
_SYMBOL = re.compile(r"[a-z]{1,3}\d+\Z")
_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.And, ast.Or, ast.Not, ast.USub, ast.Eq,
               ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)  # fmt: skip


def read_exported(archive: Archive) -> torch.export.ExportedProgram:
    """Return the program of a ``.pt2`` file; no code that it brings along is run.

    Raises
    ------
    InputError
        It is damaged, of another version, or holds something that is not copied.
    """
    try:
        program = _Copy(archive).of(json.loads(archive.bytes(_GRAPH)), "")
        read = serialize._dict_to_dataclass(schema.ExportedProgram, program)  # type: ignore[no-untyped-call]
        weights, constants = _tensors(archive, _WEIGHTS), _tensors(archive, _CONSTANTS)
        return serialize.ExportedProgramDeserializer().deserialize(read, weights, constants, None)
    except RooflineError:
        raise
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), "")
        raise archive.refused(f"{type(error).__name__}: {first}") from None


class _Copy:
    """Copies the JSON of a program."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self._kinds: dict[str, Callable[[Any], Any]] = {
            "target": self._operator,
            "as_operator": self._operator,
            "expr_str": self._expression,
            "in_spec": self._containers,
            "out_spec": self._containers,
            "as_string": str,
            "as_strings": lambda item: [str(x) for x in item],
            "metadata": lambda item: (
                {"nn_module_stack": str(item["nn_module_stack"])} if "nn_module_stack" in item else {}
            ),
            "guards_code": lambda item: [],
            "device": lambda item: {"type": "cpu", "index": None},
            "as_device": lambda item: {"type": "cpu" if item["type"] == "cpu" else "meta", "index": None},
        }

    def of(self, item: Any, field: str) -> Any:
        """Return what is copied of a field."""
        if field in self._kinds and item is not None:
            return self._kinds[field](item)
        if isinstance(item, dict):
            return {self._plain(key): self.of(x, key) for key, x in item.items()}
        if isinstance(item, list):
            return [self.of(x, "") for x in item]
        return self._plain(item) if isinstance(item, str) else item

    def _plain(self, text: str) -> str:
        if not _PLAIN.match(text):
            raise self.archive.refused(f"a name in it is {text[:80]!r}")
        return text

    def _operator(self, name: str) -> str:
        space, _, last = name.rpartition(".")
        if last not in _PYTHON.get(space, ()):
            if not re.fullmatch(r"torch\.ops\.\w+\.\w+\.\w+", name, re.ASCII):
                raise self.archive.refused(f"it calls {name[:80]!r}")
            refuse_foreign(self.archive, name.removeprefix("torch.ops."))
        return name

    def _expression(self, text: str) -> str:
        """Return an expression of sizes."""
        try:
            fine = len(text) < 10_000 and _is_arithmetic(ast.parse(text, mode="eval").body)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            fine = False
        if not fine:
            raise self.archive.refused(f"a size in it is {text[:80]!r}")
        return text

    def _containers(self, text: str) -> str:
        """Return the shape of nested inputs or outputs."""
        version, tree = json.loads(text)
        for kind, context in _kinds_of(tree):
            known = pytree.SERIALIZED_TYPE_TO_PYTHON_TYPE.get(kind)
            if known is None and kind is not None:
                raise self.archive.refused(
                    f"inputs or outputs in {kind[:80]!r}: import what registers it, or pass a tuple"
                )
            if kind == "collections.defaultdict" or '"__enum__"' in json.dumps(context):
                raise self.archive.refused(f"inputs or outputs in {kind[:80]!r}")
        return json.dumps([version, tree])


def _kinds_of(tree: Any) -> list[tuple[str, Any]]:
    context = tree["context"]
    context = json.loads(context) if isinstance(context, str) and context[:1] in '{["n' else context
    return [(tree["type"], context), *(pair for child in tree["children_spec"] for pair in _kinds_of(child))]


def _is_arithmetic(node: ast.AST) -> bool:
    """Whether an expression is made of numbers, symbols and functions of sizes, as words or as operators."""
    match node:
        case ast.Constant(value=value):
            return isinstance(value, (int, float)) and abs(value) < 2**63
        case ast.Name(id=name):
            return name in _VALUES or bool(_SYMBOL.match(name))
        case ast.UnaryOp(op=op, operand=inner):
            return isinstance(op, _ARITHMETIC) and _is_arithmetic(inner)
        case ast.BinOp(left=left, op=op, right=right):
            return isinstance(op, _ARITHMETIC) and _is_arithmetic(left) and _is_arithmetic(right)
        case ast.BoolOp(op=op, values=parts):
            return isinstance(op, _ARITHMETIC) and all(map(_is_arithmetic, parts))
        case ast.Compare(left=left, ops=ops, comparators=parts):
            return all(isinstance(op, _ARITHMETIC) for op in ops) and all(map(_is_arithmetic, (left, *parts)))
        case ast.Call(func=ast.Name(id="Symbol"), args=[ast.Constant(value=str(name))], keywords=assumed):
            return bool(_SYMBOL.match(name)) and all(isinstance(k.value, ast.Constant) for k in assumed)
        case ast.Call(func=ast.Name(id="Pow"), args=[ast.Call(func=ast.Name(id="Symbol")) as base, power], keywords=[]):
            return _is_arithmetic(base) and _is_arithmetic(power)
        case ast.Call(func=ast.Name(id=name), args=parts, keywords=[]):
            return name in _SIZES and all(map(_is_arithmetic, parts))
    return False


def _tensors(archive: Archive, folder: str) -> dict[str, torch.Tensor]:
    """Return stored tensors by name: without data, but small ones of numbers that are no parameters."""
    made: dict[str, torch.Tensor] = {}
    found: dict[str, torch.Tensor] = {}
    kind = folder.split("/")[1]
    if f"{folder}model.pt" in archive.names:
        raise archive.refused("its tensors are pickled, as old versions did: save it again with torch.export.save")
    for name, entry in json.loads(archive.bytes(f"{folder}model_{kind}_config.json"))["config"].items():
        if entry["use_pickle"] or entry["tensor_meta"] is None:
            raise archive.refused(f"{name!r} is a pickled object")
        same = json.dumps(entry, sort_keys=True)
        if same not in made:
            made[same] = _tensor(archive, folder, entry)
        found[name] = made[same]
    return found


def _tensor(archive: Archive, folder: str, entry: dict[str, Any]) -> torch.Tensor:
    meta = entry["tensor_meta"]
    dtype = serialize._SERIALIZE_TO_TORCH_DTYPE[meta["dtype"]]
    sizes, strides = ([int(d["as_int"]) for d in meta[key]] for key in ("sizes", "strides"))
    blank = torch.empty_strided(sizes, strides, dtype=dtype, device="meta")
    if entry.get("is_param"):
        return torch.nn.Parameter(blank, requires_grad=False)
    if not 0 < blank.numel() <= LIMIT_ELEMENTS:
        return blank
    data = archive.bytes(folder + entry["path_name"])
    held = torch.frombuffer(bytearray(data), dtype=dtype)
    return held.as_strided(sizes, strides, int(meta["storage_offset"]["as_int"])).clone()
