"""Formats as NVIDIA's documentation lists them, kernels as public logs of 8.6 to 10.x name them."""

from __future__ import annotations

import pytest

from facenet_validate.engines.tensorrt.layer_types import kernel_type, type_named


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Half", "HALF"),
        ("Int8", "INT8"),
        ("Row major linear FP32", "FLOAT"),
        ("Row major linear FP32 format (kLINEAR)", "FLOAT"),
        ("Row major Int8 format", "INT8"),
        ("Channel major FP16 format where channel % 8 == 0", "HALF"),
        ("Thirty-two wide channel vectorized row major Int8 format", "INT8"),
        ("Thirty-two wide channel vectorized row major FP16 format", "HALF"),
        ("BFloat16", "BF16"),
        ("FP8", "FP8"),
        ("FP4", "FP4"),
        ("Int4", "INT4"),
        ("UInt8", "UINT8"),
        ("N/A due to dynamic shapes", "unknown"),
        ("Int64", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_format_names_its_type(text: str, expected: str) -> None:
    assert type_named(text) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Data, output; weights, accumulator; epilogue: the operands count, the others do not.
        ("sm90_xmma_fprop_implicit_gemm_f16f16_f16f16_f16_nhwckrsc_nhwc", "HALF"),
        ("sm80_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc_tilesize64", "HALF"),
        ("sm80_xmma_fprop_implicit_gemm_f16f32_f16f32_f32_nhwckrsc_nhwc_tilesize64", "HALF"),
        ("sm50_xmma_cublas_gemvx_f16f16_f32_f32_tn_n_int32_unit_n", "HALF"),
        ("sm80_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32_nchw_vect_c_32", "INT8"),
        ("sm80_xmma_fprop_implicit_gemm_interleaved_i8f32_i8i32_f32_nchw_vect_c_32", "INT8"),
        ("sm80_xmma_gemm_f32f32_tf32f32_f32_nn_n_tilesize32x32x64_tensor16x8x8", "FLOAT"),
        ("sm90_xmma_gemm_f32f32_tf32f32_f32_tn_n_tilesize256x128x32_hgmma64x128x8", "FLOAT"),
        ("sm80_xmma_fprop_implicit_gemm_indexed_f32f32_f32f32_f32_nhwckrsc_nhwc_ffma", "FLOAT"),
        ("sm80_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x32", "BF16"),
        ("sm89_xmma_gemm_e4m3bf16_e4m3f32_f32_tn_n_tilesize128x128x64", "FP8"),
        ("sm80_xmma_gemm_f16f16_i8f32_f32_tn_n_tilesize64", "mixed"),
        ("sm80_xmma_fprop_avdt_sparse_int8int8_tilesize64x64x64_r3s3_u1v1_scalebias_relu", "INT8"),
        ("ampere_first_layer_filter3x3_imma_fwd", "INT8"),
        ("volta_int8x4_icudnn_int8x4_128x32_relu_small_nn_v1", "INT8"),
        ("volta_fp32_icudnn_int8x4_128x128_relu_small_nn_v1", "INT8"),
        ("volta_int8_i8816cudnn_int8_256x64_ldg16_relu_medium_nt_v1", "INT8"),
        ("trt_volta_h884cudnn_256x64_ldg8_relu_exp_small_nhwc_tn_v1", "HALF"),
        ("turing_h1688cudnn_128x128_ldg8_relu_exp_medium_nhwc_tn_v1", "HALF"),
        ("ampere_h16816cudnn_128x64_ldg8_relu", "HALF"),
        ("ampere_fp16_s16816gemm_fp16_64x64_sliced1x2_ldg8_f2f_stages_64x5_tn", "HALF"),
        ("sm70_conv_hmma_fprop", "HALF"),
        ("ampere_tf32_s1688cudnn_tf32_128x128_ldg4_relu", "FLOAT"),
        ("sm80_hmma_bf16_fprop", "BF16"),
        ("ampere_scudnn_128x64_relu_xregs_large_nn_v1", "FLOAT"),
        ("ampere_sgemm_32x32_sliced1x4_nn", "FLOAT"),
        ("__myelin_CASK_STUB", "unknown"),
        ("__myl_MulAddReluMulMinMaxRounCast_0x06bd73a1a32d7364529e74c7935d5c91", "unknown"),
        ("sm80_trt_conv_act_pool_v3_tile_rows_8_tile_cols_120", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_kernels_name_tells_what_it_multiplies(name: str, expected: str) -> None:
    assert kernel_type(name) == expected
