"""Compiles one exported program for one topology, in a process of its own: ``worker.py PROGRAM TOPOLOGY ANSWER``.

The environment of the compiler must be set before JAX is loaded, and what goes wrong inside it ends the process:
whoever asks, with a JAX already at work, only reads the answer. It is a file of JSON: the optimised program and what
the compiler says of its size, or its reason to refuse. Only the documented ahead-of-time path is used
(https://docs.jax.dev/en/latest/aot.html, `jax.experimental.topologies`).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

#: no TPU is looked for, and what a host of TPUs would tell of itself is stated
ENVIRONMENT = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "JAX_PLATFORMS": "cpu",
    "TPU_ACCELERATOR_TYPE": "v4-8",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
}
SIZES = ("generated_code_size_in_bytes", "argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes")


def answer(program: bytes, topology: str) -> dict[str, Any]:
    """Return the optimised program as text with its sizes, or ``{"stage": ..., "refused": reason}``."""
    stage = "topology"
    try:
        import jax
        from jax import export
        from jax.experimental.layout import Format, Layout
        from jax.experimental.topologies import get_topology_desc

        single = set(topology.rpartition(":")[2].split("x")) == {"1"}
        bounds = {"chips_per_host_bounds": (1, 1, 1)} if single else {}
        chip = get_topology_desc(platform="tpu", topology_name=topology, **bounds).devices[0]
        stage = "program"
        exported = export.deserialize(bytearray(program))
        shaped: Any = jax.ShapeDtypeStruct
        specs = [shaped(a.shape, a.dtype) for a in exported.in_avals]
        arguments, named = jax.tree_util.tree_unflatten(exported.in_tree, specs)
        # what enters and leaves lies as the program wants it: whoever feeds it can see to that
        where = Format(Layout.AUTO, jax.sharding.SingleDeviceSharding(chip))
        call = jax.jit(exported.call, in_shardings=where, out_shardings=where)
        compiled = call.lower(*arguments, **named).compile()
        memory = compiled.memory_analysis()
        sizes = {name: int(getattr(memory, name)) for name in SIZES if hasattr(memory, name)}
        return {"text": compiled.as_text(), "memory": sizes}
    except Exception as error:  # whatever the compiler says is the answer
        return {"stage": stage, "refused": f"{type(error).__name__}: {error}"}


def main(program: str, topology: str, path: str) -> None:
    """Compile a file for a topology and write the answer to `path`."""
    os.environ.update(ENVIRONMENT)
    Path(path).write_text(json.dumps(answer(Path(program).read_bytes(), topology)), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
