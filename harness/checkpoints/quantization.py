"""Weights in fewer bits: `quantize=` by bitsandbytes as they load, and checkpoints that were saved quantised.

int8 is LLM.int8() (Dettmers et al. 2022) with threshold 0: the default of 6 picks outlier columns over the whole batch,
so that an answer would depend on its batch-mates. int4 is NF4 and fp4 is FP4 of QLoRA (Dettmers et al. 2023), in blocks
of 64, without double quantisation; they compute in the checkpoint's dtype. GPTQ, AWQ, FP8 and compressed-tensors
folders load through transformers, where their package and this device allow it.

Not here: quantising a checkpoint in order to save it, and ChatGLM's own `quantize(4|8)`.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch

from harness.checkpoints import files
from harness.checkpoints.adapters import prompt_learning
from harness.errors import HarnessError

_FOUR_BITS = {"int4": "nf4", "fp4": "fp4"}
# PEFT starts these from the base's own floating-point weights.
_NEEDS_FLOATS = ("pissa", "olora", "corda", "eva")


class Quantization(NamedTuple):
    """How a checkpoint's weights are quantised."""

    name: str
    """`int8`, `nf4`, `fp4`, or the method a saved checkpoint names: `gptq`, `awq`, `fp8`, `compressed-tensors`, …"""
    config: Any
    """transformers' quantization_config."""
    saved: bool
    """The files hold quantised weights, rather than being quantised as they load."""
    dtype: torch.dtype
    """What it computes in; some kernels know fewer dtypes than were asked for (AWQ's on a GPU: float16)."""

    @property
    def bits(self) -> int | None:
        """Bits of a quantised weight, where the name tells."""
        return {"int8": 8, "nf4": 4, "fp4": 4}.get(self.name)


def resolve(
    base: Path, config: Any, wanted: str | None, dtype: torch.dtype, device: torch.device
) -> Quantization | None:
    """Return how the checkpoint in `base` is to be loaded, None for plain weights; leaves transformers' `config` alone.

    Raises HarnessError where `wanted` meets weights that are quantised already, or a package or device is missing.
    """
    stated = getattr(config, "quantization_config", None)
    if stated is None and wanted is None:
        return None
    if stated is not None and wanted is not None:
        raise HarnessError(f"{base} is already quantised ({_method(_plain(stated))}): leave quantize={wanted} out")
    if wanted is not None:
        made = _bitsandbytes(_settings(wanted), dtype)
        found = Quantization(_FOUR_BITS.get(wanted, wanted), made, saved=False, dtype=dtype)
    else:
        found = _saved(base, _plain(stated), dtype)
    return found._replace(dtype=_checked_dtype(base, found, device))


def compute_in_full(model: torch.nn.Module) -> None:
    """Keep 4-bit layers of `model` from computing in bfloat16 on a CPU, whatever was asked for.

    Where the CPU has AVX512-BF16, bitsandbytes repacks a layer's weights at its first answer, rounds its scales to
    bfloat16 and multiplies in it: other answers than on the next machine, and none for widths that 32 does not divide.
    """
    layers: Any = model.modules()
    for layer in layers:
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False


def check_adapter(quantization: Quantization, folder: Path, base: Path) -> None:
    """Raise HarnessError, naming both, where PEFT cannot put the adapter in `folder` on a base quantised so."""
    adapter = files.read_json(folder / files.ADAPTER_CONFIG)
    how, name = adapter.get("init_lora_weights"), quantization.name
    why = None
    if adapter.get("use_dora") and name not in ("nf4", "fp4"):
        why = f"DoRA needs the base's floating-point weights, which {name} does not keep: int4 does"
    elif isinstance(how, str) and how.startswith(_NEEDS_FLOATS):
        why = f"{how} starts from the base's floating-point weights, which {name} does not keep"
    elif quantization.bits is not None and not _has_bitsandbytes_layers(str(adapter.get("peft_type"))):
        why = f"peft has no {adapter.get('peft_type')} layers for weights that bitsandbytes quantised"
    if why:
        raise HarnessError(f"adapter {folder} cannot be put on {base} in {name}: {why}; or leave quantize= out")


def _has_bitsandbytes_layers(method: str) -> bool:
    """Tell whether PEFT knows `method` on packed weights; other methods would take the packed numbers for weights."""
    from importlib.util import find_spec

    return method in prompt_learning.METHODS or find_spec(f"peft.tuners.{method.lower()}.bnb") is not None


def bytes_in_memory(model: torch.nn.Module) -> int:
    """Return the bytes that the weights and buffers of `model` take, with the scales that bitsandbytes keeps apart."""
    tensors: dict[int, torch.Tensor] = {}
    # bitsandbytes moves the scales of int8 from the weight to its module as that answers for the first time.
    states = [module.state for module in model.modules() if hasattr(module, "state")]
    for held in (*model.parameters(), *model.buffers(), *states):
        for one in (*([held] if isinstance(held, torch.Tensor) else []), *_scales(held)):
            tensors[one.data_ptr() or id(one)] = one
    return sum(one.numel() * one.element_size() for one in tensors.values())


def expected_bytes(quantization: Quantization | None, parameters: int, body: int, itemsize: int) -> int:
    """Return the bytes that weights will take, of which `body` are between the embeddings and get quantised.

    4-bit blocks of 64 share one float32 scale.
    """
    bits = quantization and quantization.bits
    if bits is None:
        return parameters * itemsize
    return (parameters - body) * itemsize + int(body * (bits / 8 + (4 / 64 if bits == 4 else 0)))


def _scales(held: Any) -> list[torch.Tensor]:
    state = getattr(held, "quant_state", None)
    nested = getattr(state, "state2", None)
    kept = [getattr(held, "SCB", None), getattr(state, "absmax", None), getattr(nested, "absmax", None)]
    return [one for one in kept if isinstance(one, torch.Tensor)]


def _settings(wanted: str) -> dict[str, Any]:
    if wanted == "int8":
        return {"load_in_8bit": True}
    return {"load_in_4bit": True, "bnb_4bit_quant_type": _FOUR_BITS[wanted]}


def _bitsandbytes(settings: dict[str, Any], dtype: torch.dtype) -> Any:
    from transformers import BitsAndBytesConfig

    # Fixed whatever a saved checkpoint says: they decide how one computes, not what the weights are.
    return BitsAndBytesConfig(**{**settings, "llm_int8_threshold": 0.0, "bnb_4bit_compute_dtype": dtype})


def _saved(base: Path, stated: dict[str, Any], dtype: torch.dtype) -> Quantization:
    name = _method(stated)
    if stated.get("load_in_8bit") or stated.get("load_in_4bit"):
        known = {key: value for key, value in stated.items() if not key.startswith("_") and key != "quant_method"}
        try:
            return Quantization(name, _bitsandbytes(known, dtype), saved=True, dtype=dtype)
        except (TypeError, ValueError) as error:
            raise _unusable(base, name, error) from error
    from transformers.quantizers.auto import AutoQuantizationConfig

    try:
        return Quantization(name, AutoQuantizationConfig.from_dict(dict(stated)), saved=True, dtype=dtype)
    except Exception as error:  # each method's configuration class raises its own
        raise _unusable(base, name, error) from error


def _method(stated: dict[str, Any]) -> str:
    if stated.get("load_in_8bit"):
        return "int8"
    if stated.get("load_in_4bit"):
        return str(stated.get("bnb_4bit_quant_type", "fp4"))
    return str(stated.get("quant_method"))


def _plain(stated: Any) -> dict[str, Any]:
    return dict(stated if isinstance(stated, dict) else stated.to_dict())


def _unusable(base: Path, name: str, error: Exception) -> HarnessError:
    advice = "install or update what is missing, or take the checkpoint it was made from, with quantize= if need be"
    return HarnessError(f"{base} in {name} cannot be used here ({files.reason(error)}): {advice}")


def _checked_dtype(base: Path, found: Quantization, device: torch.device) -> torch.dtype:
    """Return what transformers will compute in; raise HarnessError naming the package or device that it misses."""
    from transformers.quantizers.auto import AutoHfQuantizer

    logger = logging.getLogger("transformers")
    before, logger.level = logger.level, logging.CRITICAL
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantizer = AutoHfQuantizer.from_config(found.config, pre_quantized=found.saved)
            quantizer.validate_environment(device_map={"": device}, weights_only=True)
            dtype: torch.dtype = quantizer.update_dtype(found.dtype)
            return dtype
    except Exception as error:  # ImportError for packages, RuntimeError and ValueError for devices, and others
        raise _unusable(base, found.name, error) from error
    finally:
        logger.level = before
