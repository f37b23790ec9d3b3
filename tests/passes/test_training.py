"""The training step: gradients of every op, counts by hand, memory and the optimizer."""

from __future__ import annotations

import pytest
from training_steps import kernel, macs, step, traffic

import roofline as rf
from roofline.errors import UnknownOpError
from roofline.graph.builder import GraphBuilder
from roofline.graph.ops import Elementwise, Softmax
from roofline.graph.serial import op_classes
from roofline.passes.backward.pointwise import CELLS, IN_OPERANDS, IN_RESULT
from roofline.passes.backward.registry import RULES
from roofline.passes.backward.tape import FLAT_FUNCTIONS
from roofline.work.functions import FUNCTIONS

# rules ---------------------------------------------------------------------------------------------------------------

#: ops that only training itself makes; nobody differentiates a training step
OF_TRAINING = {
    "conv_input_grad", "conv_weight_grad", "attention_grad", "softmax_grad", "norm_grad", "affine_grad", "pool_grad",
    "resize_grad", "sample_grad", "sum_to", "spread", "scatter", "optimizer_step",
}  # fmt: skip
#: and those that number formats make: nobody trains in one
OF_FORMATS = {"quantize"}
#: recurrences and indexes of decoders: training through them ends in one line (see below)
NOT_TRAINED = {"recurrence", "index_scores"}


@pytest.mark.parametrize("kind", sorted(op_classes().keys() - OF_TRAINING - OF_FORMATS - NOT_TRAINED))
def test_every_op_has_a_backward_rule(kind: str) -> None:
    assert op_classes()[kind] in RULES, "register one in roofline/passes/backward"


def test_every_function_has_a_derivative_or_is_flat_or_refused() -> None:
    by_hand = {"add", "identity", "sub", "neg", "scale", "mul", "select", "div", "rotary"}
    refused = {"quantize", "dequantize"}
    forward = {name for name in FUNCTIONS if not name.endswith("_grad")}
    assert forward == by_hand | refused | FLAT_FUNCTIONS | IN_RESULT | IN_OPERANDS | CELLS
    for name in IN_RESULT | IN_OPERANDS | CELLS | {"div"}:
        assert sum(FUNCTIONS[f"{name}_grad"]) > 0


class Unheard(Softmax):
    """An op that nobody wrote a backward rule for."""

    kind = "unheard"


def test_an_op_without_a_backward_rule_is_named() -> None:
    b = GraphBuilder("net")
    x = b.linear(b.input("x", (4, 8)), 8)
    for name in ("first", "second"):
        x = b.add_op(name, Unheard, x)
    with pytest.raises(UnknownOpError, match=r"net: no backward rule for 'Unheard' x2, first at 'first' \(4x8\): regi"):
        step(b.graph([x]))


@pytest.mark.parametrize(("model", "op"), [("qwen3.5-27b", "Recurrence"), ("deepseek-v3.2", "IndexScores")])
def test_decoders_that_are_not_trained_say_which_op_is_why(model: str, op: str) -> None:
    with pytest.raises(UnknownOpError, match=f"no backward rule for '{op}'"):
        rf.simulate(model, "h100-sxm", mode="training", length=16)


def test_decoders_of_attention_are_trained() -> None:
    prompt, trained = (rf.simulate("llama-3.2-1b", "h100-sxm", mode=m, length=64) for m in ("inference", "training"))
    assert trained.macs > 2.5 * prompt.macs


def test_what_data_alone_feeds_needs_no_rule() -> None:
    b = GraphBuilder()
    x = b.add_op("first", Unheard, b.input("x", (4, 8)))
    assert len(step(b.graph([b.linear(x, 8)])).phases) == 3


def test_quantized_networks_are_not_trained() -> None:
    b = GraphBuilder("net")
    x = b.activation("quantize", b.linear(b.input("x", (4, 8)), 8))
    with pytest.raises(UnknownOpError, match="net: element-wise function 'quantize' at 'quantize' has no derivative"):
        step(b.graph([x]))


# counts by hand ------------------------------------------------------------------------------------------------------


def test_a_convolution_multiplies_three_times_but_the_first_twice() -> None:
    b = GraphBuilder()
    x = b.relu(b.conv(b.input("x", (2, 8, 8, 3)), 16, kernel=3, stride=2, name="first"))
    y = b.depthwise(x, kernel=3, name="second")
    first, second = (2 * 4 * 4) * 16 * (9 * 3), (2 * 4 * 4) * 16 * 9
    forward, backward, update = step(b.graph([y])).phases
    assert (macs(forward), macs(backward), macs(update)) == (first + second, first + 2 * second, 0)


def test_kernels_of_a_linear_layer_by_hand() -> None:
    """y = relu(x w + b) in fp32: 4 bytes per element, every op a kernel."""
    n, c, k = 64, 32, 16
    b = GraphBuilder()
    y = b.relu(b.linear(b.linear(b.input("x", (n, c)), c, bias=False, name="before"), k, name="linear"))
    _, backward, update = step(b.graph([y])).phases
    assert kernel(backward, "relu.dx") == 4 * (n * k * 3)  # reads dy and y, writes dx
    assert kernel(backward, "linear.dx") == 4 * (n * k + c * k + n * c)
    assert kernel(backward, "linear.dw") == 4 * (n * c + n * k + c * k)
    assert kernel(backward, "linear.dsum") == 4 * (n * k + k)  # the bias: dy summed over the rows
    assert kernel(backward, "before.dw") == 4 * (n * c + n * c + c * c)
    assert len(backward.kernels) == 5
    assert len(update.kernels) == 1
    parameters = c * c + c * k + k
    assert traffic(update) == 4 * parameters * (4 + 3)  # Adam reads p, g, m, v and writes p, m, v


@pytest.mark.parametrize(("optimizer", "reads", "writes"), [("sgd", 2, 1), ("momentum", 3, 2), ("adam", 4, 3)])
@pytest.mark.parametrize(("dtype", "size"), [("fp32", 4), ("bf16", 2), ("amp_bf16", 4)])
def test_optimizers_by_hand(optimizer: str, reads: int, writes: int, dtype: str, size: int) -> None:
    """Autocast keeps weights, gradients and states in fp32; else all are in the format of the run."""
    b = GraphBuilder()
    run = step(b.graph([b.linear(b.input("x", (4, 8)), 16)]), "pytorch_eager", dtype, optimizer=optimizer)
    parameters = 8 * 16 + 16
    assert traffic(run.phases[-1]) == size * parameters * (reads + writes)
    assert run.state_bytes == size * parameters * (reads - 1), "the gradient and the states"


def test_autocast_converts_weights_forth_and_their_gradients_back() -> None:
    b = GraphBuilder()
    graph = b.graph([b.linear(b.input("x", (4, 8)), 16, bias=False)])
    _, backward, _ = step(graph, "pytorch_eager", "amp_fp16").phases
    (cast,) = (k for k in backward.kernels if k.name == "linear.linear.weight.to_fp16.dx")
    assert float(cast.traffic_bytes) == (2 + 4) * 8 * 16
    assert kernel(backward, "linear.dw") == 2 * (4 * 8 + 4 * 16 + 8 * 16), "the product itself is in half precision"


def test_batch_norm_by_hand() -> None:
    """Training: statistics are read off x before it is normalised; backward two sums first, then x's gradient."""
    n, c = 4 * 6 * 6, 8
    b = GraphBuilder()
    x = b.conv(b.input("x", (4, 6, 6, 3)), c, name="conv")
    forward, backward, _ = step(b.graph([b.batch_norm(x)])).phases
    assert kernel(forward, "bn/statistics") == 4 * (n * c + 2 * c)
    assert kernel(forward, "bn") == 4 * (2 * n * c + 4 * c)
    assert kernel(backward, "bn.sums") == 4 * (2 * n * c + 2 * c)
    assert kernel(backward, "bn.dx") == 4 * (3 * n * c + 5 * c)  # dy, x, dx; scale, statistics and sums


def test_attention_computes_its_scores_again() -> None:
    b = GraphBuilder()
    q, k, v = (b.linear(b.input(f"{n}_in", (2, 16, 32)), 32, name=n) for n in "qkv")
    graph = b.graph([b.attention(q, k, v, heads=4)])
    forward, backward, _ = step(graph).phases
    linear, product = 3 * (2 * 16 * 32 * 32), 2 * 16 * 16 * 32
    assert (macs(forward), macs(backward)) == (linear + 2 * product, linear + 5 * product)
    plain = step(graph, "tensorflow").phases  # decomposed: four products, nothing again
    assert (macs(plain[0]), macs(plain[1])) == (linear + 2 * product, linear + 4 * product)


def test_a_gradient_of_two_readers_is_summed_by_a_kernel() -> None:
    b = GraphBuilder()
    x = b.linear(b.input("x", (4, 8)), 8, name="one")
    y = b.add(b.linear(x, 8, name="two"), x)
    names = [k.name for k in step(b.graph([y])).phases[1].kernels]
    assert names.count("one:0.dsum") == 1
    assert not any("add" in name for name in names), "a sum passes its gradient on as it is"


@pytest.mark.parametrize(("function", "operands"), [("remainder", 2), ("addcmul", 3), ("addcdiv", 3)])
def test_the_gradient_passes_on_to_a_term_of_a_sum(function: str, operands: int) -> None:
    """x - floor(x / b) b, x + y z c and x + y / z c: dx is dy; the others are kernels that read dy and all operands."""
    b = GraphBuilder()
    x = [b.linear(b.input(f"x{i}", (4, 8)), 8, name=f"linear{i}") for i in range(operands)]
    y = b.add_op("y", Elementwise, *x, function=function, broadcast=(False,) * operands)
    backward = step(b.graph([y])).phases[1]
    assert [k.name for k in backward.kernels if k.name.startswith("y.")] == [f"y.d{i}" for i in range(1, operands)]
    assert kernel(backward, "y.d1") == 4 * (4 * 8) * (1 + operands + 1)


def test_parts_of_one_tensor_put_their_gradients_together_once() -> None:
    b = GraphBuilder()
    qkv = b.linear(b.input("x", (2, 4, 8)), 24, name="qkv")
    parts = [b.part(qkv, 8, start=8 * i) for i in range(3)]
    backward = step(b.graph([b.attention(*parts, heads=2)])).phases[1]
    assert kernel(backward, "qkv:0.dparts") == 4 * (2 * 4 * 24) * 2


def test_a_tied_table_is_updated_once() -> None:
    b = GraphBuilder()
    x = b.embedding(b.input("ids", (2, 4), rf.op_graph("bert-base").tensors["tokens"].dtype), 100, 8)
    run = step(b.graph([b.linear(x, 100, bias=False, tied=True)]), optimizer="sgd")
    table = 4 * 100 * 8
    assert traffic(run.phases[-1]) == table * 3 + table * 3, "p, g -> p; and the second gradient added to the first"


# memory --------------------------------------------------------------------------------------------------------------


def test_saved_activations_by_hand() -> None:
    b = GraphBuilder()
    x = b.conv(b.input("x", (2, 8, 8, 3)), 16, name="conv")
    x = b.activation("swish", b.batch_norm(x))
    graph = b.graph([b.linear(b.mean(x, (1, 2), keep=False), 10)])
    run = step(graph)
    image = 2 * 8 * 8 * 16
    # the norm keeps the convolution's result and its statistics, swish the norm's, linear the mean; the logits leave
    assert run.saved_bytes == 4 * (2 * image + 2 * 16 + 2 * 16 + 2 * 10)


def test_recomputing_keeps_what_leaves_the_block_only() -> None:
    b = GraphBuilder()
    x = b.input("x", (2, 8, 8, 16))
    for i in range(3):
        x = b.relu(b.batch_norm(b.conv(x, 16, kernel=3, name=f"conv{i}"), name=f"bn{i}"))
    graph = b.graph([x])
    plain, again = step(graph), step(graph, recompute=True)
    assert again.saved_bytes == 4 * (2 * 8 * 8 * 16) < plain.saved_bytes
    one = 2 * 8 * 8 * 16 * 16 * 9
    assert macs(plain.phases[0]) == macs(again.phases[0]) == 3 * one
    assert macs(plain.phases[1]) == 5 * one
    assert macs(again.phases[1]) == 8 * one, "all three again: the last relu needs its own result"


@pytest.mark.parametrize("device", ["tpu-v3", "a100-40gb"])
def test_recomputing_trades_time_for_memory(device: str) -> None:
    inference = rf.simulate("resnet-50", device, batch=64)
    plain, again = (
        rf.simulate("resnet-50", device, batch=64, mode="training", recompute=recompute) for recompute in (False, True)
    )
    assert inference.latency_s < plain.latency_s < again.latency_s
    assert inference.peak_memory_bytes < again.peak_memory_bytes < plain.peak_memory_bytes
    assert plain.macs < again.macs <= plain.macs + inference.macs
    assert again.saved_bytes < plain.saved_bytes and again.state_bytes == plain.state_bytes
