"""Weights in 8 or 4 bits, as ChatGLM's own `quantize(8)` and `quantize(4)` make them, and a linear layer with them.

The method is symmetric, with one scale for each output row (quantization.py of THUDM/chatglm-6b and chatglm2-6b). All
arithmetic is in half precision, as in the published code:

- the weight is taken in float16;
- scale = half(absmax of the row / k), where k is 127 or 7;
- code = half(weight / scale), rounded to the nearest integer, ties to even. With a quotient in float32, 0.9 % of int8
  codes would differ;
- 4-bit codes are packed in pairs: byte = (even column << 4) | (odd column & 15), in two's complement.

For two kinds of rows the published code is not followed. A row of zeros stays zero; the published code makes NaN of
it. If absmax is below 0.001, the scale rounded to half can be so small that a code would exceed k. Such a code is k
here, whereas the published code wraps it to another sign.

In the forward pass, a weight is the exact product code × scale, rounded once to the dtype of the input. This is what
the published GPU kernel computes in float16, and the published CPU kernel in float32. In bfloat16, the published code
also rounds the scale to bfloat16 first, which would only add an error. The product of input and weight is rounded
before the bias is added, as published.

The whole weight of one layer is unpacked for its forward pass, and again for its backward pass, each of which therefore
needs memory for one plain weight. A gradient reaches the input, not the weight.
Not here: putting such layers into a model (`harness.checkpoints.chatglm.quantizer`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from harness.errors import HarnessError

BITS = (8, 4)
"""Bits of a weight that the method has."""
_ROWS = 256
"""Rows that are quantised or unpacked at a time, so that intermediate results stay small beside the weight."""


class Codes(NamedTuple):
    """A quantised weight, as the published code saves it."""

    weight: torch.Tensor
    """Codes in int8, (out, in); two codes a byte, (out, in / 2), for 4 bits."""
    scale: torch.Tensor
    """Scale of each row in float16, (out,)."""


def quantize(weight: torch.Tensor, bits: int) -> Codes:
    """Return the codes and scales of `weight` (out, in), on its device. `bits` is 8 or 4.

    Raises HarnessError if the weight has an odd number of columns and 4 bits.
    """
    _require_pairs(weight.shape[1], bits)
    rows, columns = weight.shape
    result = Codes(
        torch.empty(rows, columns * bits // 8, dtype=torch.int8, device=weight.device),
        torch.empty(rows, dtype=torch.float16, device=weight.device),
    )
    for start in range(0, rows, _ROWS):
        block = slice(start, start + _ROWS)
        result.weight[block], result.scale[block] = _quantize_rows(weight[block].half(), bits)
    return result


def _quantize_rows(rows: torch.Tensor, bits: int) -> Codes:
    """Return the codes and scales of `rows`, which are in float16."""
    largest = 2 ** (bits - 1) - 1
    scale = rows.abs().amax(dim=1) / largest
    quotient = torch.where(scale[:, None] > 0, rows / scale[:, None], 0)
    codes = quotient.round_().clamp_(-largest, largest).to(torch.int8)
    return Codes(pack(codes) if bits == 4 else codes, scale)


def pack(codes: torch.Tensor) -> torch.Tensor:
    """Return the 4-bit `codes` (out, in), each from −8 to 7 in int8, as bytes (out, in / 2) in int8."""
    return (codes[:, 0::2] << 4) | (codes[:, 1::2] & 15)


def unpack(packed: torch.Tensor) -> torch.Tensor:
    """Return the 4-bit codes (out, in) in int8 that `pack` put into the bytes `packed` (out, in / 2)."""
    return torch.stack(_halves(packed), dim=2).flatten(1)


def _halves(packed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the codes of the even and of the odd columns that the bytes `packed` hold."""
    return packed >> 4, (packed << 4) >> 4


def dequantize(codes: Codes, bits: int, dtype: torch.dtype) -> torch.Tensor:
    """Return the weight (out, in) in `dtype`: each exact product of code and scale, rounded once."""
    rows, width = codes.weight.shape
    exact = torch.float32 if dtype == torch.bfloat16 else dtype  # bfloat16 cannot hold the scale
    plain = torch.empty(rows, width * 8 // bits, dtype=dtype, device=codes.weight.device)
    size = _ROWS if plain.device.type == "cpu" else rows  # a CPU's caches hold a block
    for start in range(0, rows, size):
        block = slice(start, start + size)
        packed, scale = codes.weight[block], codes.scale[block].to(exact)[:, None]
        if bits == 4:
            even, odd = _halves(packed)
            plain[block, 0::2], plain[block, 1::2] = even.to(exact).mul_(scale), odd.to(exact).mul_(scale)
        else:
            plain[block] = packed.to(exact).mul_(scale)
    return plain


class _Product(torch.autograd.Function):
    """input × weightᵀ; the plain weight is not kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, input: torch.Tensor, codes: torch.Tensor, scale: torch.Tensor, bits: int) -> torch.Tensor:
        """Return the product (…, out) of `input` (…, in) and the weight."""
        ctx.save_for_backward(codes, scale)
        ctx.bits = bits
        return nn.functional.linear(input, dequantize(Codes(codes, scale), bits, input.dtype))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        """Return the gradient (…, in) of the input."""
        return gradient @ dequantize(Codes(*ctx.saved_tensors), ctx.bits, gradient.dtype), None, None, None


class QuantizedLinear(nn.Linear):
    """A linear layer with the weights of `Codes`. Its state has the published names: weight, weight_scale, bias.

    It is an `nn.Linear` so that PEFT puts a LoRA on it. A new layer has empty codes and scales. Raises HarnessError if
    `in_features` is odd and `bits` is 4.
    """

    weight_scale: torch.Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bits: int,
        *,
        bias: bool,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        _require_pairs(in_features, bits)
        nn.Module.__init__(self)  # nn.Linear's would allocate the plain weight
        self.in_features, self.out_features, self.bits = in_features, out_features, bits
        codes = torch.empty(out_features, in_features * bits // 8, dtype=torch.int8, device=device)
        self.weight = nn.Parameter(codes, requires_grad=False)
        self.register_buffer("weight_scale", torch.empty(out_features, dtype=torch.float16, device=device))
        offsets = nn.Parameter(torch.empty(out_features, dtype=dtype, device=device)) if bias else None
        self.register_parameter("bias", offsets)
        self._is_hf_initialized = True  # transformers cannot draw random integers for weights that a file lacks

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return input (…, in) × weightᵀ + bias, (…, out), in the dtype of `input`."""
        if input.requires_grad and torch.is_grad_enabled():
            multiply: Callable[..., torch.Tensor] = _Product.apply
            output = multiply(input, self.weight, self.weight_scale, self.bits)
        else:
            output = nn.functional.linear(input, self.plain_weight(input.dtype))
        return output if self.bias is None else output + self.bias

    def plain_weight(self, dtype: torch.dtype) -> torch.Tensor:
        """Return the weight (out, in) that the layer multiplies inputs of `dtype` with."""
        return dequantize(Codes(self.weight, self.weight_scale), self.bits, dtype)

    def extra_repr(self) -> str:
        """Return the layer's sizes for its description."""
        return f"{super().extra_repr()}, bits={self.bits}"


def _require_pairs(in_features: int, bits: int) -> None:
    """Raise HarnessError if a row of `in_features` codes of `bits` does not fill whole bytes."""
    if in_features * bits % 8:
        raise HarnessError(
            f"a layer with {in_features} inputs cannot be quantised to {bits} bits, because {8 // bits} codes share a "
            "byte: use 8 bits"
        )
