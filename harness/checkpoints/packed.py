"""Unpack integer weights, which GPTQ, AWQ or AutoRound packed into 32-bit words, into plain weights.

The numbers are exact: a weight is `scale * (integer - zero point)`, rounded only to the compute dtype. No kernel and no
package is needed, but the unpacked weights take as much memory as plain ones. On a GPU, if gptqmodel (or auto-round) is
installed, transformers' own kernels compute on the packed words instead.

Formats: AutoGPTQ's `gptq` (v1, whose stored zero points are one too small) and GPTQModel's `gptq_v2`; AutoAWQ's `gemm`,
whose words interleave eight columns; AutoRound's three packings, which are the same. Not here: 3 bits, AWQ's `gemv`.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch

from harness.checkpoints import files
from harness.checkpoints.types import ModelConfig
from harness.errors import HarnessError

_AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Column that each 4-bit place of an AWQ word holds, lowest bits first (AutoAWQ, `packing_utils.py`)."""
_PARTS = ("qweight", "qzeros", "scales", "g_idx")
# AutoRound's packing_format → (method, number that is added to a stored zero point).
_AUTO_ROUND = {
    "auto_round": ("gptq", 0),
    "auto_round:gptqmodel": ("gptq", 0),
    "auto_round:auto_gptq": ("gptq", 1),
    "auto_round:auto_awq": ("awq", 0),
}


class Packing(NamedTuple):
    """How the linear layers of a checkpoint are packed."""

    name: str
    """Name in reports, such as `gptq-4bit-g128`."""
    method: str
    """`gptq`: words run along the inputs; `awq`: along the outputs."""
    bits: int
    group_size: int
    """Number of inputs that share a scale; -1 if all do."""
    zero_offset: int
    """Number that is added to a stored zero point."""


def packing(config: ModelConfig, device: torch.device) -> Packing | None:
    """Return how the weights that `config` describes are packed, or None.

    The result is None if the weights are not packed, or if transformers must load them. It must do so if their format
    cannot be unpacked here, or if they go to a GPU and the package with the kernels is installed.
    """
    stated = getattr(config, "quantization_config", None)
    settings = dict(stated if isinstance(stated, dict) else stated.to_dict()) if stated is not None else {}
    method = str(settings.get("quant_method", "")).lower()
    kernels = "auto_round" if method in ("auto-round", "intel/auto-round") else "gptqmodel"
    if device.type != "cpu" and find_spec(kernels) is not None:
        return None
    layout = _layout(method, settings)
    bits, group = settings.get("bits", 4), settings.get("group_size", 128)
    if layout is None or bits not in ((4,) if layout[0] == "awq" else (2, 4, 8)) or not isinstance(group, int):
        return None
    name = f"{method}-{bits}bit" + (f"-g{group}" if group > 0 else "")
    return Packing(name, layout[0], bits, group, layout[1])


def _layout(method: str, settings: dict[str, Any]) -> tuple[str, int] | None:
    """Return the method of a format and the offset of its zero points; None if the format cannot be unpacked here."""
    if method == "gptq":
        kind = str(settings.get("checkpoint_format") or settings.get("format") or "gptq").lower()
        return {"gptq": ("gptq", 1), "gptq_v2": ("gptq", 0)}.get(kind)
    if method == "awq":
        kind = str(settings.get("version") or settings.get("format") or "gemm").lower()
        return ("awq", 0) if kind == "gemm" and settings.get("zero_point", True) else None
    if method in ("auto-round", "intel/auto-round") and settings.get("data_type", "int") == "int":
        has_own_layers = bool(settings.get("extra_config"))  # layers of other bits
        return None if has_own_layers else _AUTO_ROUND.get(str(settings.get("packing_format", "auto_round")))
    return None


def unpacked(folder: Path, packing: Packing, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Return all weights in `folder` by name, those of packed layers as plain `weight`s in `dtype`.

    Raises HarnessError if a file cannot be read, a part of a layer is missing or has another size, or no layer is
    packed.
    """
    tensors: dict[str, torch.Tensor] = {}
    for file in files.weight_files(folder):
        tensors |= _tensors(file)
    layers = sorted(name.removesuffix(".qweight") for name in tensors if name.endswith(".qweight"))
    if not layers:
        raise HarnessError(
            f"{folder} states {packing.name} in its config.json, but holds no packed weights (qweight): fetch or save "
            "the checkpoint again"
        )
    for layer in layers:
        parts = {part: tensors.pop(f"{layer}.{part}") for part in _PARTS if f"{layer}.{part}" in tensors}
        try:
            tensors[f"{layer}.weight"] = _weight(parts, packing).to(dtype)
        except (KeyError, IndexError, RuntimeError) as error:
            raise HarnessError(
                f"{folder} has packed weights in {layer} that do not fit together as {packing.name} "
                f"({files.reason(error)}): fetch or save the checkpoint again"
            ) from error
    return tensors


def _tensors(file: Path) -> dict[str, torch.Tensor]:
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return dict(load_file(file))
    return dict(torch.load(file, map_location="cpu", weights_only=True))


def _weight(parts: dict[str, torch.Tensor], packing: Packing) -> torch.Tensor:
    """Return the weight (outputs, inputs) in float32 that the `parts` of a layer hold."""
    bits, is_awq = packing.bits, packing.method == "awq"
    scales = parts["scales"].float()  # (groups, outputs)
    zeros = _integers(parts["qzeros"], bits, is_awq=is_awq)
    zeros = (zeros + packing.zero_offset) & (2**bits - 1)
    if is_awq:
        integers = _integers(parts["qweight"], bits, is_awq=True)
    else:
        integers = _integers(parts["qweight"].T.contiguous(), bits, is_awq=False).T
    inputs = len(integers)
    if scales.shape != zeros.shape or scales.shape[1] != integers.shape[1]:
        shapes = f"{tuple(integers.shape)}, {tuple(scales.shape)} and {tuple(zeros.shape)}"
        raise RuntimeError(f"integers, scales and zero points have the sizes {shapes}")
    size = packing.group_size if packing.group_size > 0 else inputs
    groups = parts["g_idx"].long() if "g_idx" in parts else torch.arange(inputs) // size
    if int(groups.max()) >= len(scales) or len(groups) != inputs:
        raise RuntimeError(f"{inputs} inputs in groups of {size} need more than {len(scales)} scales")
    weight: torch.Tensor = (scales[groups] * (integers - zeros[groups])).T.contiguous()
    return weight


def _integers(words: torch.Tensor, bits: int, *, is_awq: bool) -> torch.Tensor:
    """Return the integers (rows, columns) in `words` (rows, columns * bits / 32), lowest bits first."""
    shifts = torch.arange(0, 32, bits)
    places: torch.Tensor = (words[..., None].to(torch.int64) >> shifts) & (2**bits - 1)
    if is_awq:
        places = places[..., torch.tensor(_AWQ_ORDER).argsort()]
    return places.flatten(1)
