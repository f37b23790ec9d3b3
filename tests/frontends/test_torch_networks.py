"""Whole networks from PyTorch: everything lowers, and counts equal those of others.

The multiply-adds of all networks here are those of ``torch.utils.flop_counter`` to the last one, and the parameters are
the module's.
"""

from __future__ import annotations

from functools import cache

import pytest
import torch
from timm_rows import TIMM_RESULTS, agrees, build, fvcore_gmacs, rows_of
from torch.utils.flop_counter import FlopCounterMode
from torch_networks import TRANSFORMERS, Network, transformers_network

import roofline as rf
from roofline.graph.opgraph import OpGraph

pytestmark = pytest.mark.filterwarnings("ignore")  # of other people's networks

#: one of each kind that timm has
TIMM = (
    "bat_resnext26ts", "beit_base_patch16_224", "botnet26t_256", "coatnet_nano_rw_224", "convmixer_1024_20_ks9_p14",
    "convnext_tiny", "crossvit_tiny_240", "cspresnet50", "davit_tiny", "deit_tiny_distilled_patch16_224", "dla34",
    "efficientformer_l1", "efficientnet_b0", "efficientvit_b0", "eva02_tiny_patch14_224", "fastvit_t8",
    "focalnet_tiny_srf", "gcvit_xxtiny", "gernet_s", "ghostnet_100", "halonet26t", "hiera_tiny_224",
    "lambda_resnet26t", "levit_128s", "mambaout_femto", "mixer_s32_224", "mobilenetv3_small_100", "mobilevit_xxs",
    "mvitv2_tiny", "nest_tiny", "nf_regnet_b0", "poolformer_s12", "pvt_v2_b0", "regnety_002", "repvgg_a0", "resnest14d",
    "resnet18", "rexnet_100", "selecsls42", "skresnet18", "starnet_s1", "swin_tiny_patch4_window7_224",
    "tiny_vit_5m_224", "twins_pcpvt_small", "vgg11", "visformer_tiny", "vit_tiny_patch16_224", "volo_d1_224",
)  # fmt: skip

#: published rows of networks that this timm builds differently: with a few parameters more
OTHER_PARAMETERS = {"hieradet_small", "tnt_b_patch16_224", "tnt_s_patch16_224", "vitamin_small_224"}
#: differential attention: measured taken apart, which multiplies once where two fused calls multiply twice
OTHER_ATTENTION = {"vit_dlittle_patch16_reg1_gap_256", "vit_dwee_patch16_reg1_gap_256"}


@cache
def network(name: str) -> Network:
    if name in TRANSFORMERS:
        return transformers_network(name)
    module, image = build(name)
    return Network(name=name, module=module, inputs={"x": image})


@cache
def lowered(name: str) -> OpGraph:
    net = network(name)
    inputs = net.inputs if name in TRANSFORMERS else tuple(net.inputs.values())
    return rf.from_torch(net.module, inputs)


@pytest.mark.parametrize("name", [*TRANSFORMERS, *TIMM])
def test_networks_lower_with_all_their_parameters(name: str) -> None:
    graph, module = lowered(name), network(name).module
    graph.check_shapes()
    unread = {path for path, _ in module.named_parameters()} - set(graph.tensors)
    expected = sum(p.numel() for path, p in module.named_parameters() if path not in unread)
    assert graph.params == expected
    assert unread <= {"wav2vec2.masked_spec_embed"}  # replaces what training masks


@pytest.mark.parametrize("name", [*TRANSFORMERS, *TIMM])
def test_flops_equal_those_of_the_flop_counter(name: str) -> None:
    graph, net = lowered(name), network(name)
    inputs = {key: x.to("meta") if x.is_floating_point() else x for key, x in net.inputs.items()}
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            net.module(**inputs) if name in TRANSFORMERS else net.module(*inputs.values())
    except (RuntimeError, NotImplementedError) as error:  # it runs the program on the meta device as it is
        if "meta" not in str(error):
            raise
        pytest.skip("the flop counter cannot run a program that looks at its data")
    assert 2 * graph.macs == counter.get_total_flops()


@pytest.mark.parametrize("name", ["bert", "llama", "efficientnet_b0", "convnext_tiny", "swin_tiny_patch4_window7_224"])
@pytest.mark.parametrize("runtime", ["pytorch_eager", "pytorch_compile"])
def test_lowered_networks_simulate(name: str, runtime: str) -> None:
    graph = lowered(name)
    full, mixed = (rf.simulate(graph, "rtx-3090", runtime=runtime, dtype=d) for d in ("fp32", "amp_fp16"))
    assert full.macs == mixed.macs == graph.macs
    assert full.latency_s > 0
    assert mixed.latency_s > 0


# published counts ------------------------------------------------------------------------------------------------


def published() -> list[tuple[str, int, float, float]]:
    """Return (model, image size, gmacs, millions of parameters) of the inference result files, each once."""
    found: dict[tuple[str, int], tuple[float, float]] = {}
    for path in sorted(TIMM_RESULTS.glob("benchmark-infer-*.csv")):
        for row in rows_of(path):
            key = (row["model"], int(row["infer_img_size"]))
            found.setdefault(key, (float(row["infer_gmacs"]), float(row["param_count"])))
    return [(*key, *value) for key, value in sorted(found.items())]


@pytest.mark.skipif(not TIMM_RESULTS.is_dir(), reason="no published result files beside the checkout")
def test_a_sample_of_published_rows_lowers_and_agrees() -> None:
    """Every 40th row; `benchmarks/coverage_timm.py FILES` does all of them."""
    wrong = {}
    for name, size, gmacs, params in published()[::40]:
        module, image = build(name, size)
        graph = rf.from_torch(module, image)
        assert graph.params == sum(p.numel() for p in module.parameters())
        same_parameters = name in OTHER_PARAMETERS or abs(float(graph.params) / 1e6 - params) <= 0.0051
        if not same_parameters or not (name in OTHER_ATTENTION or agrees(fvcore_gmacs(graph), gmacs)):
            wrong[name] = (fvcore_gmacs(graph), gmacs, graph.params, params)
    assert not wrong


# one network, two doors ------------------------------------------------------------------------------------------

DEVICES = [
    ("v100", "pytorch_eager", None),
    ("rtx-3090", "pytorch_eager", "amp_fp16"),
    ("a100-40gb", "pytorch_compile", None),
    ("t4", "tensorrt", None),
    ("a100-80gb", "tensorflow", None),
    ("tpu-v3", "xla", None),
    ("tpu-v4i", "xla", None),
]


@pytest.mark.parametrize(
    ("arch", "name"),
    [("efficientnet-b0", "efficientnet_b0"), ("resnet-50", "resnet50"), ("vit-b-16", "vit_base_patch16_224")],
)
def test_architecture_files_and_pytorch_agree(arch: str, name: str) -> None:
    graph = rf.from_torch(build(name)[0], (32, 3, 224, 224))
    for device, runtime, dtype in DEVICES:
        ours = rf.simulate(arch, device, batch=32, runtime=runtime, dtype=dtype, cores=1)
        theirs = rf.simulate(graph, device, runtime=runtime, dtype=dtype, cores=1)
        assert (theirs.macs, theirs.params) == (ours.macs, ours.params)
        assert theirs.traffic_bytes == pytest.approx(ours.traffic_bytes, rel=0.02)
        assert theirs.latency_s == pytest.approx(ours.latency_s, rel=0.05)
