"""How long does a network take on a TPU or GPU, why, and what would make it faster: an analytical simulator.

    import roofline as rf
    report = rf.simulate("efficientnet-x-b0", "tpu-v3", batch=128)
    print(report.latency_ms, report.bound)

Names are loaded on first use, so that importing the package costs nothing; ``__init__.pyi`` lists them.
"""

from __future__ import annotations

import importlib
from typing import Any

from roofline.version import __version__


def _listed() -> dict[str, str]:
    """Return public name -> module that defines it, from the lines ``from MODULE import NAME as NAME``."""
    with open(f"{__file__}i", encoding="utf-8") as stub:
        lines = [line.split() for line in stub if line.startswith("from ")]
    return {name: module for _, module, _, name, *_ in lines}


#: public name -> module that defines it
_PUBLIC = _listed()
__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name == "graph":  # the folder, which can be called as the former name of `op_graph`
        return importlib.import_module("roofline.graph")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'roofline' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
