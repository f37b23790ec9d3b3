"""The JAX writer: a readable program in plain `jax` and `lax`, images channels last."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from roofline.errors import UnknownOpError, nearest
from roofline.export.body import Step, atom, body, docstring, halved, summed, wrapped
from roofline.export.classes import Class
from roofline.export.copied import copied, names_in
from roofline.export.layers import Layer
from roofline.export.network import Call, Network, tied_layer
from roofline.export.spelling import numbered, quoted, said
from roofline.export.tree import Module

LAYERS = (Path(__file__).with_name("shifts.py"), Path(__file__).with_name("jax_layers.py"))

#: activation -> the function's name in the program
ACTIVATIONS = {
    "relu": "jax.nn.relu",
    "relu6": "jax.nn.relu6",
    "leaky_relu": "jax.nn.leaky_relu",
    "elu": "jax.nn.elu",
    "swish": "jax.nn.silu",
    "mish": "jax.nn.mish",
    "softplus": "jax.nn.softplus",
    "sigmoid": "jax.nn.sigmoid",
    "hard_sigmoid": "jax.nn.hard_sigmoid",
    "hard_swish": "jax.nn.hard_swish",
    "tanh": "jnp.tanh",
    "gelu": "gelu",
    "gelu_tanh": "gelu_tanh",
}


def jax_text(network: Network, *, folded: bool = False, scoped: bool = False) -> str:
    """Return the program.

    Parameters
    ----------
    network
        The network as modules and classes.
    folded
        Batch norms are a scale and a shift of every channel, both parameters: no running statistics.
    scoped
        What is no layer of its own stands in a scope, too: every op of the graph has one of its name.

    Raises
    ------
    UnknownOpError
        A layer that has no form in JAX.
    """
    return _Writer(network, folded, scoped).text()


class _Writer:
    def __init__(self, network: Network, folded: bool, scoped: bool) -> None:
        self.network, self.scoped = network, scoped
        self.classes = network.classes
        self.norm = "folded_batch_norm" if folded else "batch_norm"

    def text(self) -> str:
        blocks = [self._function(c) for c in self.classes.found]
        inits = [self._init(c) for c in self.classes.found if _weighted(c.body)]
        main = self._main()
        code = "\n\n\n".join([*blocks, *inits, main])
        recipe = {name.upper(): value for name, value in asdict(self.network.recipe).items()}
        constants, helpers = copied(LAYERS, code, recipe)
        head = f'"""{said(self.network.title)}, as a program in plain JAX.\n\n{_usage(self.network)}\n"""'
        text = "\n\n\n".join(["\n".join(constants), *helpers, code])
        return "\n\n".join([head, _imports(text), text]) + "\n"

    # forward -------------------------------------------------------------------------------------------------------

    def _function(self, made: Class) -> str:
        written = body(made.body, lambda at, step, x: self._call(made, at, step, x))
        sizes = self._asked(made)
        signature = ", ".join(["p: Tree", *(f"{a}: Array" for a in written.arguments), *map(_declared, sizes.items())])
        signature += ", table: Array" * (tied_layer(made.body) is not None)
        result = "Array" if len(made.body.outputs) == 1 else "tuple[Array, ...]"
        lines = ["@layer", *wrapped(f"def {_snake(made.name)}({signature}) -> {result}:", 0)]
        lines += docstring(*self.network.about_class(made), 4)
        lines += [part for s in written.statements for part in wrapped(s, 4)]
        return "\n".join([*lines, f"    return {written.returned}"])

    def _asked(self, made: Class) -> dict[str, object]:
        """Return the parameters that the function of a class takes -> defaults: those that weights do not tell."""
        used = set()
        for at, step in enumerate(made.body.steps):
            for size in self._forward_sizes(step):
                used.update(re.findall(r"[A-Za-z_]\w*", made.spelled[at, size]))
        return {n: made.defaults.get(n) for n in sorted(made.parameters, key=lambda n: n in made.defaults) if n in used}

    def _forward_sizes(self, step: Step) -> list[str]:
        if isinstance(step, Module):
            return list(self._asked(self.classes.of(step)))
        if step.kind == "conv":
            return ["stride"]
        if step.kind in ("conv", "attention", "pool", "roll", "window_partition", "window_reverse"):
            return list(step.sizes)
        if step.kind == "embedding":
            return [s for s in step.sizes if s in ("tokens", "window")]
        return []

    def _call(self, made: Class, at: int, step: Step, x: Sequence[str]) -> str:
        sizes = {size: made.spelled[at, size] for size in self._forward_sizes(step)}
        if isinstance(step, Module):
            inner = self.classes.of(step)
            known = {n: repr(v) for n, v in inner.defaults.items()}
            return self._named(_snake(inner.name), step, x, {n: t for n, t in sizes.items() if known.get(n) != t})
        rule = getattr(self, f"_{step.kind}", None)
        if rule is None:
            raise UnknownOpError(f"op {step.op_id!r} ({step.kind}) has no form in JAX")
        if not self.scoped:
            return str(rule(step, x, sizes))
        names = [f"x{i}" for i in range(len(x))]  # what it is called with is computed outside its scope
        function = f"lambda {', '.join(names)}: {rule(step, names, sizes)}"
        return f"within({', '.join([quoted(step.name), function, *x])})"

    def _named(self, function: str, step: Step, x: Sequence[str], options: dict[str, str] | None = None) -> str:
        tail = [f"{n}={v}" for n, v in (options or {}).items()]
        return f"{function}({', '.join(['p', quoted(step.name), *x, *tail])})"

    def _conv(self, step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
        if step.switches["rank"] != 2:
            raise UnknownOpError(f"op {step.op_id!r} (conv) has no form in JAX: it is not over images")
        options = {} if sizes["stride"] == "1" else {"stride": sizes["stride"]}
        padding = step.switches["padding"]
        if padding != "half":
            options["padding"] = repr(((0, 0), (0, 0)) if padding == "none" else padding)
        return self._named("conv", step, x, options)

    def _linear(self, step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
        if step.switches["tied"]:
            return f"{atom(x[0])} @ table.T"
        return self._named("linear", step, x)

    def _batch_norm(self, step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
        return self._named(self.norm, step, x)

    def _layer_norm(self, step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
        return self._named("layer_norm", step, x)

    def _activation(self, step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
        function = step.switches["function"]
        if function not in ACTIVATIONS:
            raise UnknownOpError(
                f"op {step.op_id!r}: activation {function!r} has no form{nearest(function, ACTIVATIONS)}"
            )
        return f"{ACTIVATIONS[function]}({x[0]})"

    def _add(self, step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
        return summed(*x, *_parameters(step))

    def _mul(self, step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
        return " * ".join(atom(t) for t in [*x, *_parameters(step)])

    def _mean(self, step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
        axes = tuple(range(1, step.switches["rank"] - 1))
        return (
            f"jnp.mean({x[0]}, axis={axes[0] if len(axes) == 1 else axes}{', keepdims=True' * step.switches['keep']})"
        )

    def _pool(self, step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
        padding, kernel = step.switches["padding"], sizes["kernel"]
        border = {"none": "0", "half": halved(kernel)}.get(padding) if isinstance(padding, str) else repr(padding)
        return f"{step.switches['function']}_pool({x[0]}, kernel={kernel}, stride={sizes['stride']}, border={border})"

    def _attention(self, step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
        heads, causal = f"heads={sizes['heads']}", ", causal=True" * step.switches["causal"]
        if not step.switches["extra"]:
            return f"attend({', '.join(x)}, {heads}{causal})"
        mask = []
        if "window" in step.switches["extra"]:
            mask = [f"shift_mask({sizes['height']}, {sizes['width']}, {sizes['window']})"]
        return f"attend_in_windows({', '.join([*x, *mask])}, {heads})"

    def _flatten(self, step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
        return f"flatten({x[0]}, {step.switches['first_axis']}, {step.switches['last_axis']})"

    def _split(self, step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
        return f"jnp.split({x[0]}, {len(step.outputs)}, axis=-1)"

    def _first(self, step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
        return f"{atom(x[0])}[:, :1]"

    def _prepend(self, step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
        return f"prepend({_parameters(step)[0]}, {x[0]})"

    def _concat(self, step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
        axis = -1 if step.switches["axis"] == step.switches["rank"] - 1 else step.switches["axis"]
        return f"jnp.concatenate([{', '.join(x)}], axis={axis})"

    def _embedding(self, step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
        form = step.switches["form"]
        ids = {"tokens": x[0] if x else "", "positions": f"jnp.arange({sizes.get('tokens')})[None]"}.get(
            form, f"window_offsets({sizes.get('window')})"
        )
        return self._named("embedding", step, [ids])

    def _space_to_depth(self, step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
        return f"{step.kind}({x[0]})"

    _space_to_batch = _batch_to_space = _space_to_depth

    def _window_partition(self, step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
        return f"{step.kind}({', '.join([x[0], *sizes.values()])})"

    _window_reverse = _window_partition

    def _roll(self, step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
        sign = "" if step.switches["back"] else "-"
        half = sizes["window"]
        shift = str(int(half) // 2) if half.isdigit() else f"({half} // 2)"
        return f"jnp.roll({x[0]}, {sign}{shift}, axis={step.switches['axis']})"

    def _heads_first(self, step: Layer, x: Sequence[str], sizes: dict[str, str]) -> str:
        return f"heads_first({x[0]})"

    # weights -------------------------------------------------------------------------------------------------------

    def _init(self, made: Class) -> str:
        lines = [part for line in self._drawn(made) for part in wrapped(f"{line},", 8)]
        asked = self._told(made)
        signature = ", ".join(["new: Weights", *(f"{n}: Any" for n in asked)])
        about = f'    """Return the parameters of `{_snake(made.name)}`."""'
        named = [f"    {n} = {text}" for n, text in made.named.items()]
        head = wrapped(f"def init_{_snake(made.name)}({signature}) -> Tree:", 0)
        return "\n".join([*head, about, *named, "    return {", *lines, "    }"])

    def _told(self, made: Class) -> list[str]:
        texts = [*made.named.values(), *(text.partition(": ")[2] for text in self._drawn(made))]
        words = set(re.findall(r"[A-Za-z_]\w*", " ".join(texts)))
        return [n for n in made.parameters if n in words]

    def _drawn(self, made: Class) -> list[str]:
        lines = []
        for at, step in enumerate(made.body.steps):
            spelled = {
                s: made.spelled[at, s]
                for s in (step.sizes if isinstance(step, Layer) else self.classes.of(step).parameters)
            }
            if isinstance(step, Module):
                inner = self.classes.of(step)
                if _weighted(step):
                    told = ", ".join(["new", *(spelled[n] for n in self._told(inner))])
                    lines.append(f"{quoted(step.name)}: init_{_snake(inner.name)}({told})")
            else:
                lines += self._new(step, spelled)
        return lines

    def _new(self, step: Layer, sizes: dict[str, str]) -> list[str]:
        """Return the entries of a layer's parameters."""
        if step.kind == "conv":
            groups = sizes["in_channels"] if step.switches["form"] == "depthwise" else sizes.get("groups", "1")
            told = [sizes["in_channels"], sizes["out_channels"], f"kernel={sizes['kernel']}"]
            told += [f"groups={groups}"] * (groups != "1") + ["bias=True"] * step.switches["bias"]
        elif step.kind == "linear":
            if step.switches["tied"]:
                return []
            told = [sizes["in_channels"], sizes["out_channels"], *(["bias=False"] * (not step.switches["bias"]))]
            told += ["deviation=RESIDUAL_DEVIATION"] * step.op_id.endswith(self.network.recipe.residual or ("\0",))
        elif step.kind in ("batch_norm", "layer_norm"):
            kind = "layer_norm" if self.norm == "folded_batch_norm" else step.kind
            return [f"{quoted(step.name)}: new.{kind}({sizes['in_channels']})"]
        elif step.kind == "embedding":
            rows = f"(2 * {sizes['window']} - 1) ** 2" if step.switches["form"] == "offsets" else sizes["rows"]
            told = [rows, sizes.get("out_channels", sizes.get("heads", ""))]
        elif step.kind in ("add", "mul", "prepend"):
            shape = ["1"] * (step.switches.get("rank", 3) - 1) + [sizes.get("in_channels", "")]
            if "tokens" in sizes:
                shape[1] = sizes["tokens"]
            drawn = "jnp.full(({},), LAYER_SCALE)" if step.kind == "mul" else "new.normal(({},), LINEAR_DEVIATION)"
            return [f"{quoted(n)}: {drawn.format(', '.join(shape))}" for n in step.weights]
        else:
            return []
        return [f"{quoted(step.name)}: new.{step.kind}({', '.join(told)})"]

    # the network ---------------------------------------------------------------------------------------------------

    def _main(self) -> str:
        calls = self.network.calls
        lines = [
            "def forward(variables: Tree, " + ", ".join(f"{a}: Array" for a in self.network.arguments) + ") -> Array:"
        ]
        lines += [f'    """{self.network.about}"""']
        lines += [
            '    p = merged(variables["params"], variables["buffers"])'
            if self._buffers()
            else '    p = variables["params"]'
        ]
        run = [line for call in calls for line in self._run(call)]
        returned = self.network.returned
        if run[-1].startswith(f"{returned} = "):
            returned = run.pop().partition(" = ")[2]
        lines += [*(f"    {line}" for line in run), f"    return {returned}"]
        init = ["def init(key: Array) -> Tree:", '    """Return new weights, and statistics of nothing seen yet."""']
        init += ["    new = Weights(key)", "    tree: Tree = {"]
        for call in calls:
            init += [part for line in self._begin(call) for part in wrapped(line, 8)]
        init += ["    }"]
        if self._buffers():
            init += ["    trained, kept = split(tree)", '    return {"params": trained, "buffers": kept}']
        else:
            init += ['    return {"params": tree}']
        return "\n".join(lines) + "\n\n\n" + "\n".join(init)

    def _buffers(self) -> bool:
        return self.norm == "batch_norm" and any(x.kind == "batch_norm" for x in self.network.root.layers())

    def _run(self, call: Call) -> list[str]:
        asked = self._asked(call.cls)
        sizes = [f"{n}={v!r}" for n, v in call.arguments.items() if n in asked]
        if call.tied:
            at = (*self.network.table_of(call.tied), "table")
            sizes.append("table=p" + "".join(f"[{quoted(name)}]" for name in at))
        name = numbered(call.stage) if call.loop else quoted(call.first)
        text = f"{', '.join(call.outputs)} = {_snake(call.cls.name)}({', '.join(['p', name, *call.inputs, *sizes])})"
        return [f"for i in range({call.start}, {call.stop}):", f"    {text}"] if call.loop else [text]

    def _begin(self, call: Call) -> list[str]:
        if not _weighted(call.cls.body):
            return []
        values = call.every
        told = ", ".join(["new", *(f"{n}={values[n]!r}" for n in self._told(call.cls))])
        made = f"init_{_snake(call.cls.name)}({told})"
        if call.loop:
            return [f"**{{{numbered(call.stage)}: {made} for i in range({call.start}, {call.stop})}},"]
        return [f"{quoted(call.first)}: {made},"]


def _weighted(module: Module) -> bool:
    return any(layer.weights and not layer.switches.get("tied") for layer in module.layers())


def _parameters(step: Layer) -> list[str]:
    return [f"p[{quoted(n)}]" for n in step.weights]


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _declared(parameter: tuple[str, object]) -> str:
    name, default = parameter
    return f"{name}: Any" if default is None else f"{name}: Any = {default!r}"


def _usage(network: Network) -> str:
    return f"    y = forward(init(jax.random.key(0)), {', '.join(network.arguments)})"


def _imports(text: str) -> str:
    words = names_in(text)
    plain = [f"import {m}" for m in ("functools", "math") if m in words]
    typing = ["from typing import Any"] if "Any" in words else []
    callable_ = ["from collections.abc import Callable"] if "Callable" in words else []
    arrays = ["import jax"] + (["import jax.numpy as jnp"] if "jnp" in words else [])
    arrays += ["import numpy as np"] if "np" in words else []
    arrays += ["from jax import lax"] if "lax" in words else []
    return "\n".join([*plain, *callable_, *typing]) + "\n\n" + "\n".join(arrays)
