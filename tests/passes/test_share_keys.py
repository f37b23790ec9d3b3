"""Keys that programs repeat for several query heads: read once where the runtime's attention can, and only then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from families import asking

import roofline as rf
from roofline.graph.builder import GraphBuilder
from roofline.passes.share_keys import share_keys

torch: Any = pytest.importorskip("torch")
SHARE = asking(shared_keys=True)
N, T, PAST, KV, GROUP, D = 2, 3, 50, 4, 5, 16
F = torch.nn.functional


def repeated(x: Any, times: int) -> Any:
    """As transformers does it."""
    wide = x[:, :, None].expand(*x.shape[:2], times, *x.shape[2:])
    return wide.reshape(x.shape[0], x.shape[1] * times, *x.shape[2:])


def program(q: Any, k: Any, v: Any, mask: Any) -> Any:
    return F.scaled_dot_product_attention(q, repeated(k, GROUP), repeated(v, GROUP), attn_mask=mask)


def lowered(function: Any = program, kv: int = KV) -> rf.OpGraph:
    q, k = torch.empty(N, KV * GROUP, T, D), torch.empty(N, kv, PAST, D)
    return rf.from_torch(function, (q, k, k.clone(), torch.empty(N, 1, T, PAST)))


def kinds(graph: rf.OpGraph) -> list[str]:
    return [op.kind for op in graph.ops.values() if op.kind in ("move", "attention")]


def test_repeated_keys_are_read_once() -> None:
    graph = lowered()
    shared = share_keys(graph, SHARE)
    assert kinds(graph) == ["move", "move", "attention"] and kinds(shared) == ["attention"]
    attention = next(op for op in shared.ops.values() if op.kind == "attention")
    assert (attention.heads, attention.kv_heads) == (KV * GROUP, KV)  # type: ignore[attr-defined]
    assert [shared.tensors[t].shape for t in attention.inputs[1:3]] == [(N, PAST, KV * D)] * 2
    assert shared.macs == graph.macs == 2 * N * KV * GROUP * T * PAST * D
    shared.check_shapes()
    assert share_keys(shared, SHARE) is shared, "a second run changes nothing"


def test_only_where_the_runtime_does_so() -> None:
    graph = lowered()
    assert share_keys(graph, asking()) is graph
    assert share_keys(graph, replace(SHARE, mode="training")) is graph
    bytes_of = {
        name: rf.simulate(graph, "h100-sxm", runtime=name).traffic_bytes for name in ("vllm", "pytorch_compile")
    }
    copies = 2 * N * PAST * KV * D * (1 + 2 * GROUP) * 2  # read, written wide, and read so: keys and values, 2 bytes
    once = 2 * N * PAST * KV * D * 2
    assert bytes_of["pytorch_compile"] - bytes_of["vllm"] == copies - once


def every_head_its_own(q: Any, k: Any, v: Any, mask: Any) -> Any:
    return F.scaled_dot_product_attention(q, k.contiguous() * 2, v * 2, attn_mask=mask)


def other_order(q: Any, k: Any, v: Any, mask: Any) -> Any:
    """The first query head with the first key head, the second with the second: no group lies together."""
    return F.scaled_dot_product_attention(q, k.repeat(1, GROUP, 1, 1), v.repeat(1, GROUP, 1, 1), attn_mask=mask)


def keys_alone(q: Any, k: Any, v: Any, mask: Any) -> Any:
    return F.scaled_dot_product_attention(q, repeated(k, GROUP), v.repeat(1, GROUP, 1, 1), attn_mask=mask)


@pytest.mark.parametrize(("function", "kv"), [(every_head_its_own, KV * GROUP), (other_order, KV), (keys_alone, KV)])
def test_what_is_no_group_stays(function: Any, kv: int) -> None:
    graph = lowered(function, kv)
    assert share_keys(graph, SHARE) is graph


def test_repeated_keys_that_somebody_else_reads_stay_for_him() -> None:
    b = GraphBuilder("shared")
    q, k = b.input("q", (N, T, KV * GROUP * D)), b.input("k", (N, PAST, KV, 1, D))
    wide = b.expand(k, (N, PAST, KV, GROUP, D))
    keys = b.reshape(b.move("clone", wide, (N, PAST, KV, GROUP, D)), (N, PAST, KV * GROUP * D))
    graph = b.graph([b.attention(q, keys, keys, heads=KV * GROUP), b.relu(keys)])
    assert kinds(share_keys(graph, SHARE)) == ["move", "attention"]
