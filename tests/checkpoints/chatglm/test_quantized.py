"""ChatGLM's own quantisation: codes, scales and packed bytes equal the published formula's, computed here by NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.checkpoints.chatglm.quantized import QuantizedLinear, dequantize, pack, quantize, unpack
from harness.errors import HarnessError

LARGEST = {8: 127, 4: 7}
FIXED = np.array(
    [
        [1.0, -0.5, 0.25, 0.0, 0.75, -1.0],
        [0.0371, -0.0002, 0.0113, 0.02, -0.0297, 0.0105],
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [-3.14, 2.72, 1.41, -1.73, 0.58, 1.62],
        [1e-4, 2e-5, -1e-4, 0.0, 5e-5, 3e-5],
    ],
    dtype=np.float16,
)


def published(weight: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the published codes and scales of the float16 `weight`, in NumPy's float16 arithmetic."""
    scale = (np.abs(weight).max(axis=1) / np.float16(LARGEST[bits])).astype(np.float16)
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = weight / scale[:, None]
    assert quotient.dtype == np.float16
    codes = np.nan_to_num(np.rint(quotient)).astype(np.int8)
    return codes, scale


def packed(codes: np.ndarray) -> np.ndarray:
    """Return pairs of 4-bit codes as bytes: the even column in the upper half, the odd column in the lower half."""
    rows = [[(int(row[i]) << 4) & 240 | int(row[i + 1]) & 15 for i in range(0, len(row), 2)] for row in codes]
    return np.array(rows, dtype=np.uint8).view(np.int8)


def normal(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((rows, columns)) * 0.02).astype(np.float16)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("weight", [FIXED[:4], normal(512, 256)], ids=["fixed", "normal"])
def test_codes_scales_and_bytes_are_the_published_ones(weight, bits):
    codes, scale = published(weight, bits)
    result = quantize(torch.from_numpy(weight), bits)
    assert result.weight.dtype == torch.int8
    assert result.scale.dtype == torch.float16
    assert np.array_equal(result.scale.numpy(), scale)
    assert np.array_equal(result.weight.numpy(), packed(codes) if bits == 4 else codes)


def test_the_quotient_is_rounded_to_half_before_the_code_is():
    weight = normal(512, 256)
    _, scale = published(weight, 8)
    from_float = np.rint(weight.astype(np.float32) / scale[:, None].astype(np.float32))
    differing = (quantize(torch.from_numpy(weight), 8).weight.numpy() != from_float).mean()
    assert 0.004 < differing < 0.02


def test_a_known_row_has_known_bytes():
    result = quantize(torch.tensor([[7.0, -7.0, 3.0, -1.0]]), 4)
    assert result.scale.tolist() == [1.0]
    assert result.weight.tolist() == [[0x79, 0x3F]]
    assert quantize(torch.tensor([[127.0, -127.0, 0.5, 1.5]]), 8).weight.tolist() == [[127, -127, 0, 2]]


@pytest.mark.parametrize("bits", [8, 4])
def test_rows_of_zeros_stay_zero(bits):
    result = quantize(torch.zeros(3, 4), bits)
    assert not result.weight.any()
    assert torch.equal(dequantize(result, bits, torch.float16), torch.zeros(3, 4, dtype=torch.float16))


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("size", [6e-8, 1e-6, 3e-5, 1e-4, 9e-4])
def test_no_code_changes_its_sign_where_half_precision_has_no_suitable_scale(bits, size):
    weight = torch.linspace(-size, size, 64).half()[None]
    plain = dequantize(quantize(weight, bits), bits, torch.float32)
    assert (plain * weight >= 0).all()
    assert plain.abs().max() <= 1.1 * weight.abs().max()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e5])
def test_a_weight_that_half_precision_cannot_hold_is_not_hidden(value):
    weight = torch.ones(2, 4)
    weight[1, 2] = value
    plain = dequantize(quantize(weight, 4), 4, torch.float32)
    assert plain[0].isfinite().all()
    assert not plain[1].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_weights_are_taken_in_half(dtype):
    weight = torch.from_numpy(normal(8, 32)).to(dtype)
    result, expected = quantize(weight, 8), quantize(weight.half(), 8)
    assert torch.equal(result.weight, expected.weight)
    assert torch.equal(result.scale, expected.scale)


def test_a_layer_of_many_rows_is_quantised_like_its_rows_alone():
    weight = torch.from_numpy(normal(1100, 8))
    result = quantize(weight, 4)
    parts = [quantize(rows, 4) for rows in weight.split(100)]
    assert torch.equal(result.weight, torch.cat([part.weight for part in parts]))
    assert torch.equal(result.scale, torch.cat([part.scale for part in parts]))


def test_every_pair_of_codes_survives_packing():
    pairs = torch.tensor([[even, odd] for even in range(-8, 8) for odd in range(-8, 8)], dtype=torch.int8)
    assert torch.equal(unpack(pack(pairs)), pairs)
    assert len(set(pack(pairs).flatten().tolist())) == 256
    every_byte = torch.arange(-128, 128, dtype=torch.int16).to(torch.int8).reshape(32, 8)
    assert torch.equal(pack(unpack(every_byte)), every_byte)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1000, 1000, width=16), min_size=4, max_size=4), st.sampled_from([8, 4]))
def test_a_weight_differs_from_its_code_by_half_a_scale_and_rounding(row, bits):
    weight = torch.tensor([row], dtype=torch.float16)
    result = quantize(weight, bits)
    error = (dequantize(result, bits, torch.float32) - weight.float()).abs()
    if weight.abs().max() >= 1e-3:  # below, half precision has no suitable scale
        # The scale and the quotient are each rounded by a share of at most 2 ** -11.
        scale = result.scale.float()[:, None]
        assert (error <= scale * (0.5 + 2 * LARGEST[bits] * 2**-11)).all()


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_weight_is_the_exact_product_rounded_once(bits, dtype):
    codes = quantize(torch.from_numpy(normal(64, 32)), bits)
    numbers = (unpack(codes.weight) if bits == 4 else codes.weight).double()
    expected = (numbers * codes.scale.double()[:, None]).to(dtype)
    assert torch.equal(dequantize(codes, bits, dtype), expected)


def test_a_float16_weight_is_that_of_the_published_kernel():
    weight = normal(64, 32)
    codes, scale = published(weight, 8)
    expected = codes.astype(np.float16) * scale[:, None]
    assert np.array_equal(dequantize(quantize(torch.from_numpy(weight), 8), 8, torch.float16).numpy(), expected)


def layer(weight: torch.Tensor, bits: int, bias: torch.Tensor | None, dtype: torch.dtype) -> QuantizedLinear:
    result = QuantizedLinear(weight.shape[1], weight.shape[0], bits, bias=bias is not None, dtype=dtype)
    codes = quantize(weight, bits)
    state = {"weight": codes.weight, "weight_scale": codes.scale, **({} if bias is None else {"bias": bias})}
    result.load_state_dict(state)
    return result


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_layer_multiplies_with_the_plain_weight_and_adds_the_bias(bits, dtype, has_bias):
    generator = torch.Generator().manual_seed(0)
    weight, inputs = torch.randn(24, 16, generator=generator), torch.randn(2, 3, 16, generator=generator).to(dtype)
    bias = torch.randn(24, generator=generator).to(dtype) if has_bias else None
    output = layer(weight, bits, bias, dtype)(inputs)
    plain = dequantize(quantize(weight, bits), bits, dtype)
    assert output.dtype == dtype
    assert torch.equal(output, inputs @ plain.T + (0 if bias is None else bias))
    exact = inputs.double() @ plain.double().T + (0 if bias is None else bias.double())
    size = inputs.double().abs() @ plain.double().abs().T + (0 if bias is None else bias.double().abs())
    assert ((output.double() - exact).abs() <= 16 * torch.finfo(dtype).eps * size).all()


def test_a_layer_that_is_moved_to_another_dtype_keeps_its_weights():
    weight, inputs = torch.from_numpy(normal(8, 16)), torch.ones(1, 16)
    linear = layer(weight, 4, None, torch.float32)
    expected = linear(inputs)
    assert torch.equal(linear.float()(inputs), expected)


def test_the_state_of_a_layer_has_the_published_names_dtypes_and_shapes():
    state = QuantizedLinear(16, 24, 4, bias=True, dtype=torch.float16).state_dict()
    shapes = {name: (value.dtype, tuple(value.shape)) for name, value in state.items()}
    half = torch.float16
    assert shapes == {"weight": (torch.int8, (24, 8)), "weight_scale": (half, (24,)), "bias": (half, (24,))}


def test_a_row_of_an_odd_number_of_4_bit_codes_is_refused():
    for make in (lambda: quantize(torch.ones(2, 5), 4), lambda: QuantizedLinear(5, 2, 4, bias=False)):
        with pytest.raises(HarnessError, match="a layer with 5 inputs cannot be quantised to 4 bits") as error:
            make()
        assert "\n" not in str(error.value)
    assert quantize(torch.ones(2, 5), 8).weight.shape == (2, 5)


def test_rows_may_be_split_before_or_after_quantisation():
    weight = torch.from_numpy(normal(24, 16))
    whole = quantize(weight, 4)
    parts = [quantize(rows, 4) for rows in weight.split([16, 4, 4])]
    assert torch.equal(whole.weight, torch.cat([part.weight for part in parts]))
    assert torch.equal(whole.scale, torch.cat([part.scale for part in parts]))


@pytest.mark.parametrize("bits", [8, 4])
def test_a_gradient_passes_a_layer_as_it_passes_its_plain_weight(bits):
    layer = QuantizedLinear(16, 6, bits, bias=True, dtype=torch.float32)
    codes = quantize(torch.from_numpy(normal(6, 16)), bits)
    layer.weight.data, layer.weight_scale = codes.weight, codes.scale
    torch.nn.init.ones_(layer.bias)
    input, weights = torch.randn(2, 3, 16, requires_grad=True), torch.randn(2, 3, 6)
    plain = torch.nn.functional.linear(input, layer.plain_weight(torch.float32)) + layer.bias
    output = layer(input)
    assert torch.equal(output, plain)
    assert torch.equal(output, layer(input.detach()))
    (gradient,) = torch.autograd.grad((output * weights).sum(), input)
    (expected,) = torch.autograd.grad((plain * weights).sum(), input)
    torch.testing.assert_close(gradient, expected)
