"""A sample of the node tests of the onnx package: shapes of their arrays, multiply-adds of contractions by hand."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

import roofline as rf

onnx = pytest.importorskip("onnx")

from onnx_nodes import Case, collected, contracts, expected_macs, fixed, misshapen  # noqa: E402

#: module of the tests -> the tests of it that are taken
SAMPLE = {
    "affinegrid": "affine_grid_2d affine_grid_3d_align_corners affine_grid_2d_expanded",
    "attention": "attention_3d_gqa attention_4d_with_past_and_present attention_4d_diff_heads_sizes_causal_expanded",
    "bitcast": "bitcast_float32_to_int32",
    "causal_conv_with_state": "causal_conv_with_state_with_past_state causal_conv_with_state_short_input_no_past_state",
    "center_crop_pad": "center_crop_pad_crop_and_pad center_crop_pad_crop_axes_hwc",
    "col2im": "col2im col2im_pads col2im_dilations col2im_5d",
    "compress": "compress_1 compress_default_axis",
    "conv": "conv_with_strides_and_asymmetric_padding conv_with_autopad_same",
    "convinteger": "convinteger_with_padding",
    "convtranspose": "convtranspose_output_shape convtranspose_group_2 convtranspose_dilations",
    "deformconv": "deform_conv_with_mask_bias deform_conv_with_multiple_offset_groups",
    "dft": "dft dft_rfft dft_irfft dft_inverse_opset19",
    "einsum": "einsum_batch_matmul einsum_inner_prod einsum_sum",
    "gemm": "gemm_all_attributes gemm_transposeA",
    "gridsample": "gridsample_bicubic gridsample_volumetric_nearest_align_corners_0",
    "gru": "gru_batchwise gru_seq_length",
    "hannwindow": "hannwindow hannwindow_symmetric_expanded",
    "linear_attention": "linear_attention_gated_delta_gqa linear_attention_linear_expanded",
    "lstm": "lstm_bidirectional lstm_with_peepholes",
    "matmul": "matmul_4d matmul_1d_3d",
    "maxpool": "maxpool_with_argmax_2d_precomputed_pads maxpool_2d_ceil",
    "maxunpool": "maxunpool_export_with_output_shape",
    "melweightmatrix": "melweightmatrix",
    "negativeloglikelihoodloss": "nllloss_NCd1d2_with_weight_reduction_mean nllloss_NCd1_ii_expanded",
    "qlinearconv": "qlinearconv",
    "qlinearmatmul": "qlinearmatmul_3D_int8_float16",
    "rnn": "rnn_seq_length",
    "roialign": "roialign_aligned_true",
    "softmax_cross_entropy_loss": "sce_mean_weight_ii_3d_log_prob sce_none",
    "stft": "stft_with_window",
    "swiglu": "swiglu_alpha",
}
NAMES = [name for names in SAMPLE.values() for name in names.split()]


@functools.cache
def found() -> dict[str, Case]:
    return {case.name: case for case in collected(*SAMPLE)}


@pytest.mark.parametrize("name", NAMES)
def test_a_node_test_lowers(name: str, tmp_path: Path) -> None:
    case = found()[f"test_{name}"]
    (tmp_path / "m.onnx").write_bytes(fixed(case, pinned=True).SerializeToString())
    graph = rf.from_onnx(tmp_path / "m.onnx")
    graph.check_shapes()
    assert not misshapen(case, graph)
    assert graph.macs == expected_macs(case)
    assert (graph.macs > 0) == (contracts(case) and name != "einsum_sum")
    rf.simulate(graph, "a100-80gb", runtime="tensorrt")


@pytest.mark.parametrize(
    "name", ["attention_4d_gqa", "causal_conv_with_state_basic", "linear_attention_delta", "affine_grid_3d"]
)
def test_the_function_of_an_operator_multiplies_as_often(name: str) -> None:
    whole, apart = (found()[f"test_{name}{tail}"] for tail in ("", "_expanded"))
    assert expected_macs(whole) == expected_macs(apart) != 0
