"""What tables call the blocks of architecture files: the keys of Once-for-All where it has them."""

from __future__ import annotations

from typing import Any

from roofline.arch.block import Block, Ports


def shapes(ports: Ports) -> str:
    """Return the shape of one example as ``112x112x32``; several tensors are joined by ``+``."""
    return "+".join("x".join(str(int(d)) for d in port.shape[1:]) for port in ports)


def key(block: Block, entered: Ports, left: Ports) -> str:
    """Return a block's key: MBConv blocks as Once-for-All writes them, others with all their fields."""
    ends = f"input:{shapes(entered)}-output:{shapes(left)}"
    fields: dict[str, Any] = {f: getattr(block, f) for f in block.__dataclass_fields__}
    if "expanded" not in fields:
        return f"{type(block).__name__}-{ends}" + "".join(f"-{f}:{_short(v)}" for f, v in fields.items())
    name = "fused_conv" if fields["fused"] else "expanded_conv"
    expand = fields["expanded"] / max(int(entered[0].shape[-1]) * (4 if fields["with_entry"] else 1), 1)
    short = {"kernel": "kernel", "stride": "stride", "idskip": "skip", "se": "squeeze", "act": "activation"}
    words: dict[str, Any] = {"expand": expand} | {word: fields[field] for word, field in short.items()}
    if fields["with_entry"]:
        words["space_to_depth"] = 1
    return f"{name}-{ends}" + "".join(f"-{f}:{_short(v)}" for f, v in words.items())


def _short(value: Any) -> str:
    return str(value) if isinstance(value, str) else f"{float(value):g}"
