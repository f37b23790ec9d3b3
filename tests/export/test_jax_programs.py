"""Networks as JAX programs: read back they are the shipped graph, and they compute."""

from __future__ import annotations

import ast
from typing import Any

import numpy as np
import pytest
from exported import KINDS, allowed

import roofline as rf
from roofline.export.shifts import shift_mask, window_offsets

jax = pytest.importorskip("jax")
from roofline.export.jax_layers import Weights  # noqa: E402


@pytest.mark.parametrize(
    ("name", "folded"), [*((name, False) for name in KINDS), ("efficientnet-b0", True), ("resnet-18", True)]
)
def test_a_program_read_back_is_the_network(name: str, folded: bool) -> None:
    program = rf.to_jax(name, batch=2, folded=folded)
    read, shipped = rf.from_jax(program.forward, program.variables, *program.inputs), rf.op_graph(name, batch=2)
    assert (read.macs, read.params) == (shipped.macs, shipped.params)
    for device in ("tpu-v3", "tpu-v4"):
        a, b = (rf.simulate(graph, device, batch=2) for graph in (read, shipped))
        assert a.latency_s == pytest.approx(b.latency_s, rel=allowed("jax", rf.model(name).family, device))


def test_a_program_needs_nothing_but_jax() -> None:
    source = rf.to_jax("swin-t").source
    imported = {n.module if isinstance(n, ast.ImportFrom) else n.names[0].name for n in ast.walk(ast.parse(source))
                if isinstance(n, ast.Import | ast.ImportFrom)}  # fmt: skip
    assert imported <= {"functools", "math", "typing", "collections.abc", "jax", "jax.numpy", "numpy"}


def test_equal_blocks_are_a_loop() -> None:
    source = rf.to_jax("resnet-50").source
    assert 'for i in range(1, 6):\n        x = residual_block_identity(p, f"s2.{i}", x)' in source
    assert len(rf.to_jax("resnet-152").source.splitlines()) == len(source.splitlines())  # deeper, not longer


def test_folded_statistics_compute_the_same() -> None:
    size = 32
    plain, folded = (rf.to_jax("mobilenetv2-0.35", image_size=size, folded=f) for f in (False, True))
    draw = np.random.default_rng(1)
    variables = jax.tree_util.tree_map(
        lambda leaf: draw.uniform(0.5, 1.5, leaf.shape).astype(np.float32) / leaf.shape[0], plain.variables
    )
    trained, kept = variables["params"], variables["buffers"]

    def fold(tree: dict[str, Any], statistics: dict[str, Any]) -> dict[str, Any]:
        if "mean" in statistics:
            scale = tree["scale"] / np.sqrt(statistics["variance"] + 1e-5)
            return {"scale": scale, "shift": tree["shift"] - scale * statistics["mean"]}
        return {k: fold(v, statistics.get(k, {})) if isinstance(v, dict) else v for k, v in tree.items()}

    image = draw.normal(size=(2, size, size, 3)).astype(np.float32)
    expected = plain.forward(variables, image)
    assert expected.shape == (2, 1000)
    assert float(abs(expected).max()) > 1e-6
    np.testing.assert_allclose(folded.forward({"params": fold(trained, kept)}, image), expected, rtol=2e-3, atol=1e-6)


def test_weights_are_drawn_as_he_et_al_do() -> None:
    new = Weights(jax.random.key(0))
    conv = new.conv(112, 1280)["weight"]
    assert conv.shape == (1, 1, 112, 1280)
    assert float(conv.std()) == pytest.approx((2 / 1280) ** 0.5, rel=0.02)
    depthwise = new.conv(1344, 1344, kernel=3, groups=1344)["weight"]  # fan-out of one channel: 3 x 3
    assert depthwise.shape == (3, 3, 1, 1344)
    assert float(depthwise.std()) == pytest.approx((2 / 9) ** 0.5, rel=0.02)


def test_shifted_windows_keep_strangers_apart() -> None:
    """Two positions of a shifted window see each other if they were neighbours before the shift."""
    height, width, window = 6, 9, 3
    shift = window // 2
    mask = shift_mask(height, width, window)
    assert mask.shape == (6, 1, 9, 9)
    for number in range(6):
        rows, columns = np.divmod(number, width // window)
        places = [(rows * window + r, columns * window + c) for r in range(window) for c in range(window)]
        before = [((r + shift) % height, (c + shift) % width) for r, c in places]  # where each stood
        for i, a in enumerate(before):
            for j, b in enumerate(before):
                near = abs(a[0] - b[0]) < window and abs(a[1] - b[1]) < window
                assert (mask[number, 0, i, j] == 0) == near


def test_pairs_of_equal_offset_share_a_row() -> None:
    window = 4
    rows = window_offsets(window).reshape(window**2, window**2)
    seen: dict[tuple[int, int], int] = {}
    for i in range(window**2):
        for j in range(window**2):
            offset = (i // window - j // window, i % window - j % window)
            assert seen.setdefault(offset, rows[i, j]) == rows[i, j]
    assert len(set(seen.values())) == len(seen) == (2 * window - 1) ** 2


@pytest.mark.parametrize("function", ["max", "mean"])
def test_windows_of_even_side_have_their_border_behind(function: str) -> None:
    torch: Any = pytest.importorskip("torch")
    b = rf.GraphBuilder("even")
    with b.scope("pool"):
        graph = b.graph([b.pool(b.input("image", (1, 3, 3, 1)), function, kernel=2)])
    image = -np.arange(1, 10, dtype=np.float32).reshape(1, 3, 3, 1)
    expected = np.zeros((3, 3), dtype=np.float32)
    for i in range(3):
        for j in range(3):
            inside = image[0, i : i + 2, j : j + 2, 0]
            expected[i, j] = inside.max() if function == "max" else inside.sum() / 4
    program = rf.to_jax(graph)
    np.testing.assert_allclose(program.forward({"params": {}}, image)[0, :, :, 0], expected)
    np.testing.assert_allclose(rf.to_torch(graph)(torch.from_numpy(image[:, None, :, :, 0]))[0, 0], expected)


def test_what_no_writer_knows_is_named() -> None:
    b = rf.GraphBuilder("sorted")
    with b.scope("s0"):
        x = b.elementwise("erf_inv", b.input("image", (1, 8, 8, 3)))
    with pytest.raises(rf.RooflineError, match=r"'s0/erf_inv'.*'erf_inv' has no form"):
        rf.to_jax(b.graph([x]))
