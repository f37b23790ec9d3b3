"""The pictures: what stands where, what is written, and that no label covers another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

import roofline as rf
from roofline.errors import InputError
from roofline.names import family
from roofline.plot import plot_comparison, plot_kernels, plot_roofline
from roofline.plot.roofline import kernel_points, slow_enough
from roofline.plot.roofs import ceilings, slopes
from roofline.plot.style import BOUND_COLOURS, KIND_COLOURS, SERIES, save
from roofline.repeats import merge_repeats
from roofline.report.report import Report


@pytest.fixture(scope="module")
def report() -> Report:
    return rf.simulate("efficientnet-b0", "tpu-v3", batch=128)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_the_roof_is_that_of_the_run(report: Report) -> None:
    main, *others = slopes(report)
    assert main.main and main.name == "HBM"
    assert main.bandwidth_bytes_per_s == pytest.approx(900e9)  # the published bandwidth of TPU v3
    assert others == []
    assert [level.name for level in slopes(rf.simulate("efficientnet-b0", "tpu-v4i"))] == ["HBM", "CMEM"]
    used = [top for top in ceilings(report) if top.used]
    assert [top.flops_per_s for top in used] == [pytest.approx(123e12, rel=0.01)]  # its published bf16 peak
    assert any(top.vector for top in ceilings(report))


def test_an_idle_core_is_distance_from_the_roof() -> None:
    whole, half = (rf.simulate("efficientnet-b0", "tpu-v3", batch=n, cores=n) for n in (2, 1))
    assert slopes(whole) == slopes(half)
    assert ceilings(whole) == ceilings(half)
    # one example per core in both, hence the same kernels; the second core doubles the chip's rate
    high, low = ({n: y for n, y in zip(p["name"], p["y"], strict=True) if " more" not in n}
                 for p in (kernel_points(whole), kernel_points(half)))  # fmt: skip
    shared = high.keys() & low.keys()  # which bubbles are close enough to be drawn as one may differ
    assert len(shared) > 20
    assert all(high[name] == pytest.approx(2 * low[name]) for name in shared)


def test_every_kernel_is_in_a_bubble_or_computes_nothing(report: Report) -> None:
    points, kernels = kernel_points(report), report.kernels
    computes = (kernels["flops"] > 0) | (kernels["vector_ops"] > 0)
    assert points["share"].sum() == pytest.approx(kernels["share"][computes].sum())
    # the slowest, by hand: TPU v3 has two cores, each with half of the batch
    slowest = kernels.to_dict("records")[int(kernels["time_s"].to_numpy().argmax())]
    i = points["name"].tolist().index(slowest["kernel"])
    assert points["y"][i] == pytest.approx(2 * slowest["flops"] / slowest["time_s"])
    assert points["x"][i] == pytest.approx(slowest["flops"] / slowest["traffic_bytes"])


def test_no_bubble_hides_another_of_its_kind() -> None:
    points = kernel_points(rf.simulate("bert-base", "a100-40gb", batch=8))
    names = [name for name in points["name"] if name.startswith("encoder/attn/") and "×12" in name]
    # query, key, value and the output: equal products that find their operands in one place, equal cost
    assert any(name.endswith(" and 3 more") for name in names)
    assert "encoder/attn/attention ×12" in names
    assert (np.diff(points["share"]) <= 0).all()


def test_equal_kernels_of_a_stage_are_one_row() -> None:
    kernels = rf.simulate("bert-base", "a100-40gb", batch=8).kernels
    merged = merge_repeats(kernels)
    assert merged["count"].sum() == len(kernels) > 5 * len(merged)
    for column in ("time_s", "share", "macs", "traffic_bytes"):
        assert merged[column].sum() == pytest.approx(kernels[column].sum())
    layers = merged[merged["kernel"].str.endswith("mlp/fc2 ×12")]  # BERT base has 12 layers
    assert len(layers) == 1
    assert list(kernels["count"].unique()) == [1]  # the report's own table is untouched


def test_tiny_kernels_do_not_stretch_the_axes() -> None:
    assert slow_enough(np.array([0.5, 0.001, 0.499])).tolist() == [True, False, True]
    assert slow_enough(np.array([1.0])).tolist() == [True]


def test_bubbles_have_the_area_of_their_share(report: Report) -> None:
    axes = plot_roofline(report).axes[0]
    areas = np.concatenate([np.asarray(c.get_sizes()) for c in axes.collections])  # type: ignore[attr-defined]
    shares = kernel_points(report)["share"]
    assert areas.max() / areas.sum() == pytest.approx(shares.max() / shares.sum(), rel=0.02)


@pytest.mark.parametrize(
    ("model", "device", "batch"),
    [("efficientnet-b0", "tpu-v3", 128), ("efficientnet-x-b7", "v100", 64), ("efficientnet-b0", "tpu-v4i", 1)],
)
def test_labels_cover_neither_each_other_nor_the_edge(model: str, device: str, batch: int) -> None:
    figure = plot_roofline(rf.simulate(model, device, batch=batch))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    notes = [t for t in axes.texts if isinstance(t, Annotation) and "bound" in t.get_text()]
    boxes = [Text.get_window_extent(note) for note in notes]
    assert len(notes) >= 3
    for i, box in enumerate(boxes):
        assert axes.get_window_extent().padded(1).fully_containsx(box.x0)
        assert axes.get_window_extent().padded(1).fully_containsx(box.x1)
        assert not any(box.overlaps(other) for other in boxes[i + 1 :]), notes[i].get_text()


def test_the_roofline_says_what_it_shows(report: Report) -> None:
    words = " | ".join(texts(plot_roofline(report)))
    for part in (
        "efficientnet-b0 on tpu-v3",
        "bf16",
        "HBM 900 GB/s",
        "ridge",
        "FLOP / byte",
        "FLOP/s",
        "vector",
        "depthwise",
        "Share of latency",
    ):
        assert part in words


@pytest.mark.parametrize("by", ["bound", "kind"])
def test_the_bars_add_up_to_the_kernel_time(report: Report, by: str) -> None:
    axes = plot_kernels(report, by=by).axes[0]  # type: ignore[arg-type]
    total_ms = sum(patch.get_width() for patch in axes.patches)  # type: ignore[attr-defined]
    assert total_ms == pytest.approx(report.kernels["time_s"].sum() * 1e3)
    assert [label.get_text() for label in axes.get_yticklabels()] == list(dict.fromkeys(report.kernels["stage"]))
    assert "(ms)" in axes.get_xlabel()


def test_an_unknown_split_is_refused(report: Report) -> None:
    with pytest.raises(InputError, match="'colour'; allowed: 'bound', 'kind'"):
        plot_kernels(report, by="colour")  # type: ignore[arg-type]


def test_a_comparison_has_a_panel_per_device() -> None:
    models = ["efficientnet-b0", "efficientnet-b1", "efficientnet-x-b0"]
    reports = [rf.simulate(m, d, batch=8) for d in ("tpu-v2", "v100", "t4") for m in models]
    figure = plot_comparison(reports)
    panels = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title("left").split(",")[0] for ax in panels] == ["tpu-v2", "v100", "t4"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["efficientnet", "efficientnet-x"]
    with pytest.raises(InputError):
        plot_comparison([])
    assert family("resnet-50") == ("resnet", "50")


def test_pictures_are_written_whole_or_not_at_all(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    plot_roofline(report, path=path)
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"allowed: .png, .svg, .pdf"):
        plot_roofline(report, path=tmp_path / "a.xyz")
    with pytest.raises(InputError, match="cannot write"):
        plot_roofline(report, path=tmp_path / "missing" / "a.png")

    class Failing(Figure):
        def savefig(self, fname: object, **options: object) -> None:
            Path(str(fname)).write_bytes(b"half")
            raise OSError("disk full")

    with pytest.raises(InputError, match="disk full"):
        save(Failing(), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_a_notebook_shows_the_picture(report: Report) -> None:
    assert plot_kernels(report)._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


def test_drawing_on_given_axes_keeps_their_figure(report: Report) -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert plot_roofline(report, ax=left) is figure
    assert plot_kernels(report, ax=right) is figure


def test_pyplot_is_not_touched() -> None:
    import subprocess
    import sys

    code = "import sys, roofline.plot; print('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


@pytest.mark.parametrize("palette", [list(KIND_COLOURS.values()), list(BOUND_COLOURS.values()), list(SERIES)])
def test_colours_differ_in_lightness_or_hue_for_everybody(palette: list[str]) -> None:
    """No two colours coincide for a reader without red, green or blue cones (Vienot, Brettel, Mollon 1999 style)."""
    # projections of linear RGB that remove what the missing cone would see
    protan = np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]])
    deutan = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
    rgb = np.array([[int(to_hex(c)[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in palette])
    for projection in (np.eye(3), protan, deutan):
        seen = np.clip((rgb**2.2) @ projection.T, 0, 1) ** (1 / 2.2)
        distance = np.linalg.norm(seen[:, None] - seen[None], axis=-1) + np.eye(len(palette))
        assert distance.min() > 0.1
