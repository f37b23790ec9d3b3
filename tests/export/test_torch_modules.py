"""Networks as PyTorch modules: read back they are the shipped graph, they compute what others' do, and they learn."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from exported import KINDS, PAGE, TINY, allowed, images_of, tiny
from torch_networks import import_torchvision

import roofline as rf
from roofline.export.api import network
from roofline.export.torch_text import torch_text


@pytest.mark.parametrize("name", KINDS)
def test_a_module_read_back_is_the_network(name: str) -> None:
    with torch.device("meta"):
        module = rf.to_torch(name).eval()
    read, shipped = rf.from_torch(module, images_of(name, "meta")), rf.op_graph(name, batch=2)
    assert (read.macs, read.params) == (shipped.macs, shipped.params)
    for device in ("tpu-v3", "v100"):
        a, b = (rf.simulate(graph, device, batch=2) for graph in (read, shipped))
        assert a.latency_s == pytest.approx(b.latency_s, rel=allowed("torch", rf.model(name).family, device))


# others' networks ----------------------------------------------------------------------------------------------------


def entries(module: torch.nn.Module, last: tuple[str, ...] = ()) -> list[tuple[str, torch.Tensor]]:
    """Return parameters and running statistics in the order in which the modules stand.

    Parameters of a module itself, which PyTorch lists before those of its parts, go behind the part that `last` says.
    """
    found = [(n, t) for n, t in module.state_dict(keep_vars=True).items() if t.is_floating_point()]
    for name in last:
        own, part = name.split(">")
        for at in [i for i, (n, _) in enumerate(found) if n.rpartition(".")[2] == own][::-1]:
            prefix = found[at][0].removesuffix(own)
            behind = max(i for i, (n, _) in enumerate(found) if n.startswith(prefix + part))
            found.insert(behind, found.pop(at))
    return found


def copy_weights(theirs: Any, ours: torch.nn.Module, last: tuple[str, ...] = ()) -> None:
    """Give our module their weights: of each shape the first to the first, and so on."""
    conv1d = {id(m.weight) for m in theirs.modules() if type(m).__name__ == "Conv1D"}
    waiting: dict[tuple[int, ...], list[torch.Tensor]] = {}
    tied: set[int] = set()
    for _, tensor in entries(theirs, last):
        if id(tensor) not in tied:
            tied.add(id(tensor))
            value = tensor.detach().T if id(tensor) in conv1d else tensor.detach()
            waiting.setdefault(tuple(value.squeeze().shape), []).append(value)
    for _, tensor in entries(ours, ("gamma>project",)):
        value = waiting[tuple(tensor.squeeze().shape)].pop(0)
        with torch.no_grad():
            tensor.copy_(value.reshape(tensor.shape))
    assert not any(waiting.values()), "weights are left over"


def shaken(module: torch.nn.Module) -> torch.nn.Module:
    """Return a module in evaluation whose norms, gates and biases are not what they begin with."""
    torch.manual_seed(0)
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point() or "mask" in name:
            continue
        if name.endswith(("var", "gamma")) or (tensor.dim() == 1 and name.endswith("weight")):
            tensor.uniform_(0.5, 1.5)
        elif tensor.dim() == 1:
            tensor.normal_(0, 0.1)
    return module.eval()


#: ours -> theirs, pixels, what the order of their parameters hides
TIMM: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "efficientnet-b0": ("efficientnet_b0", 64, ()),
    "efficientnet-lite0": ("efficientnet_lite0", 64, ()),
    "efficientnet-edgetpu-s": ("efficientnet_es", 64, ()),
    "mobilenetv2-1.0": ("mobilenetv2_100", 64, ()),
    "mobilenetv3-large": ("mobilenetv3_large_100", 64, ()),
    "mnasnet-a1": ("semnasnet_100", 64, ()),
    "resnet-50": ("resnet50", 64, ()),
    "resnext-50-32x4d": ("resnext50_32x4d", 64, ()),
    "resnet-rs-50": ("resnetrs50", 64, ()),
    "regnety-400mf": ("regnety_004", 64, ()),
    "regnetx-400mf": ("regnetx_004", 64, ()),
    "inception-v3": ("inception_v3", 96, ()),
    "convnext-t": ("convnext_tiny", 64, ("gamma>mlp",)),
    "vit-ti-16": ("vit_tiny_patch16_224", 224, ("pos_embed>patch_embed", "cls_token>patch_embed")),
    "deit-ti-16": ("deit_tiny_patch16_224", 224, ("pos_embed>patch_embed", "cls_token>patch_embed")),
    "swin-t": ("swin_tiny_patch4_window7_224", 224, ()),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TIMM)
def test_outputs_equal_those_of_timm(name: str) -> None:
    import_torchvision()
    timm: Any = pytest.importorskip("timm")
    other, size, last = TIMM[name]
    options = {"aux_logits": False} if name == "inception-v3" else {}
    theirs = shaken(timm.create_model(other, **options))
    ours = rf.to_torch(name, image_size=size).eval()
    copy_weights(theirs, ours, last)
    image = torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected, found = theirs(image), ours(image)
    assert expected.std() > 1e-3  # it says something
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


def small_language(name: str) -> rf.Arch:
    """Return a language model of two blocks that is quick to run."""
    if name == "bert":
        arch = rf.edit_stage("bert-base", "embed", width=64, vocab=100, positions=32)
        return rf.edit_stage(arch, "encoder", heads=4, repeats=2).with_input_size(16)
    arch = rf.edit_stage("gpt2", "decoder", width=64, heads=4, repeats=2, vocab=100, positions=32)
    return rf.edit_stage(arch, "head", vocab=100).with_input_size(16)


@pytest.mark.filterwarnings("ignore")
def test_bert_equals_that_of_transformers() -> None:
    import_torchvision()
    transformers: Any = pytest.importorskip("transformers")
    config = transformers.BertConfig(vocab_size=100, hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
                                     intermediate_size=256, max_position_embeddings=32)  # fmt: skip
    theirs, ours = shaken(transformers.BertModel(config)), rf.to_torch(small_language("bert")).eval()
    copy_weights(theirs, ours)
    ids, types = torch.randint(0, 100, (2, 16)), torch.randint(0, 2, (2, 16))
    with torch.no_grad():
        expected = theirs(input_ids=ids, token_type_ids=types).pooler_output
        torch.testing.assert_close(ours(ids, types), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_gpt2_equals_that_of_transformers() -> None:
    import_torchvision()
    transformers: Any = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=100, n_embd=64, n_layer=2, n_head=4, n_positions=32)
    theirs, ours = shaken(transformers.GPT2LMHeadModel(config)), rf.to_torch(small_language("gpt2")).eval()
    copy_weights(theirs, ours)
    ids = torch.randint(0, 100, (2, 16))
    with torch.no_grad():
        expected = theirs(input_ids=ids).logits
        torch.testing.assert_close(ours(ids), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


# training ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TINY)
def test_a_few_steps_of_training_lower_the_loss(name: str) -> None:
    torch.manual_seed(0)
    arch = tiny(name)
    module = rf.to_torch(arch).train()
    inputs = images_of(arch, "cpu", batch=8)
    optimizer = torch.optim.AdamW(module.parameters(), lr=2e-3)
    losses = []
    for _ in range(8):
        scores = module(*inputs)
        scores = scores.reshape(-1, scores.shape[-1])
        labels = torch.arange(len(scores)) % scores.shape[-1]
        loss = torch.nn.functional.cross_entropy(scores, labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        assert all(p.grad is not None for p in module.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0], losses


# the text ------------------------------------------------------------------------------------------------------------


def test_a_program_reads_as_the_network_is_told() -> None:
    source = torch_text(network("resnet-50", first=True))
    assert source == PAGE.read_text(encoding="utf-8"), "written anew? look at the difference, then keep it"


def test_no_program_is_longer_for_being_deeper() -> None:
    lines = [len(torch_text(network(name, first=True)).splitlines()) for name in ("resnet-50", "resnet-152")]
    assert lines[0] == lines[1] < 170


def test_weights_are_drawn_as_the_papers_do() -> None:
    torch.manual_seed(0)
    conv = rf.to_torch("mobilenetv2-0.35").head.conv.weight  # He: sqrt(2 / fan-out), a 1 x 1 kernel of 1280
    assert conv.std().item() == pytest.approx((2 / 1280) ** 0.5, rel=0.02)
    vit = rf.to_torch("vit-ti-16").encoder[3].mlp.fc1.weight
    assert vit.std().item() == pytest.approx(0.0176, rel=0.02)  # 0.02, cut at two deviations
    assert vit.abs().max().item() <= 0.04


def test_residual_layers_of_gpt2_begin_smaller() -> None:
    torch.manual_seed(0)
    block = rf.to_torch("gpt2").decoder[5]
    assert block.mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.01)
    for layer in (block.attn.proj, block.mlp.fc2):
        assert layer.weight.std().item() == pytest.approx(0.02 / 24**0.5, rel=0.01)  # twelve blocks of two
