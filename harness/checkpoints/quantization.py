"""Quantised weights: `quantize=` during loading, and checkpoints that were saved quantised.

int8 is LLM.int8() (Dettmers et al. 2022) with threshold 0, because the default of 6 picks outlier columns over the
whole batch, so that an answer would depend on the other rows of its batch. int4 is NF4 and fp4 is FP4 of QLoRA
(Dettmers et al. 2023), in blocks of 64, without double quantisation; both compute in the checkpoint's dtype. Folders
saved as FP8, compressed-tensors and so on load through transformers if their package and this device support it.
chatglm-int8 and chatglm-int4 are ChatGLM's own method (`harness.checkpoints.chatglm.quantized`).

Not here: weights that loading turns into plain ones (`harness.checkpoints.packed`, `harness.checkpoints.gguf`), and
quantising a checkpoint to save it.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch

from harness.checkpoints import files
from harness.checkpoints.adapters.config import AdapterConfig
from harness.checkpoints.types import ModelConfig
from harness.errors import HarnessError

_BITSANDBYTES_TYPES = {"int4": "nf4", "fp4": "fp4"}
"""Value of `quantize=` → bitsandbytes' name of the 4-bit data type."""
_BITS = {"int8": 8, "nf4": 4, "fp4": 4, "chatglm-int8": 8, "chatglm-int4": 4}
"""Name of a quantisation → bits of a weight."""
_CHATGLM = "chatglm-int"
"""How the names of ChatGLM's own quantisations begin; the bits follow."""
_CHATGLM_MODELS = ("chatglm", "glm")
"""Model types of ChatGLM checkpoints."""


class Quantization(NamedTuple):
    """How the weights of a checkpoint are quantised."""

    name: str
    """`int8`, `nf4`, `fp4`, `chatglm-int8`, `chatglm-int4`, or the method that a saved checkpoint states: `gptq`, …"""
    config: ModelConfig
    """transformers' quantization_config."""
    saved: bool
    """Whether the files hold quantised weights, rather than weights that are quantised during loading."""
    dtype: torch.dtype
    """Dtype of the computation; some kernels support fewer dtypes (AWQ's on a GPU: float16 only)."""

    @property
    def rounds_activations(self) -> bool:
        """Whether a layer rounds its inputs: int8, and compressed-tensors such as W8A8."""
        groups = getattr(getattr(self.config, "quantization_config", None), "config_groups", None) or {}
        return self.name == "int8" or any(group.input_activations is not None for group in groups.values())

    @property
    def bits(self) -> int | None:
        """Bits of a quantised weight. None if the name of the quantisation does not tell."""
        return _BITS.get(self.name)

    @property
    def is_chatglm(self) -> bool:
        """Whether this is ChatGLM's own quantisation."""
        return self.name.startswith(_CHATGLM)


def resolve(
    base: Path, config: ModelConfig, quantize: str | None, dtype: torch.dtype, device: torch.device
) -> Quantization | None:
    """Return how to load the checkpoint in `base` quantised, or None to load it plain. `config` stays unchanged.

    `quantize` is the value of that key in the reference. Raises HarnessError if it is set for weights that are already
    quantised, if it is ChatGLM's own method and the model is another, or if a package or the device does not support
    the quantisation.
    """
    saved = getattr(config, "quantization_config", None)
    if saved is None and quantize is None:
        return None
    if saved is not None and quantize is not None:
        raise HarnessError(f"{base} is already quantised ({_name(_as_dict(saved))}): leave quantize={quantize} out")
    if quantize is not None and quantize.startswith(_CHATGLM):
        if not is_chatglm(config):
            advice = f"write quantize={quantize.removeprefix('chatglm-')}"
            raise HarnessError(f"{base} is a {config.model_type}, and {quantize} is only for ChatGLM: {advice}")
        quantization = Quantization(quantize, _chatglm(_BITS[quantize]), saved=False, dtype=dtype)
    elif quantize is not None:
        settings = _bitsandbytes(_bitsandbytes_settings(quantize), dtype)
        name = _BITSANDBYTES_TYPES.get(quantize, quantize)
        quantization = Quantization(name, settings, saved=False, dtype=dtype)
    else:
        quantization = _saved_quantization(base, _as_dict(saved), dtype)
    return quantization._replace(dtype=_supported_dtype(base, quantization, device))


def is_chatglm(config: ModelConfig) -> bool:
    """Return whether `config` is that of a model whose layers ChatGLM's own quantisation covers."""
    return config.model_type in _CHATGLM_MODELS


def disable_bfloat16_kernels(model: torch.nn.Module) -> None:
    """Stop 4-bit layers of `model` from computing in bfloat16 on a CPU, whatever dtype was requested.

    On CPUs with AVX512-BF16, bitsandbytes repacks a layer's weights at its first forward pass, rounds their scales to
    bfloat16 and multiplies in bfloat16. Then answers differ from those on other machines, and layers whose width is not
    a multiple of 32 fail.
    """
    layers: Any = model.modules()
    for layer in layers:
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False


def check_adapter(quantization: Quantization, adapter: AdapterConfig, base: Path) -> None:
    """Raise HarnessError, naming both, if PEFT cannot put `adapter` on the weights of `base` in this quantisation."""
    name, initial, reason = quantization.name, adapter.init_lora_weights, None
    if adapter.uses_dora and name not in ("nf4", "fp4"):
        reason = f"DoRA needs the base's floating-point weights, which {name} does not keep: int4 does"
    elif adapter.starts_from_base_floats or (quantization.is_chatglm and adapter.rounds_base):
        reason = f"{initial} starts from the base's floating-point weights, which {name} does not keep"
    elif quantization.is_chatglm:
        if adapter.truncates_base:
            reason = f"KaSA changes the base's floating-point weights, which {name} does not keep"
        elif not (adapter.is_prompt_learning or adapter.method == "LORA"):
            reason = f"{adapter.method} is not supported there, LoRA and prompt learning are"
    elif quantization.bits is not None and not _supports_bitsandbytes(adapter):
        reason = f"peft has no {adapter.method} layers for weights that bitsandbytes quantised"
    if reason:
        raise HarnessError(f"adapter {adapter.folder} cannot be put on {base} in {name}: {reason}; or omit quantize=")


def _supports_bitsandbytes(adapter: AdapterConfig) -> bool:
    """Return whether PEFT has layers of the adapter's method that can read weights packed by bitsandbytes.

    Layers of other methods would take the packed bytes for weights. Prompt learning needs none: it changes no layer.
    """
    from importlib.util import find_spec

    return adapter.is_prompt_learning or find_spec(f"peft.tuners.{adapter.method.lower()}.bnb") is not None


def bytes_in_memory(model: torch.nn.Module) -> int:
    """Return the bytes that weights and buffers of `model` take, with all scales, also those bitsandbytes hides."""
    tensors: dict[int, torch.Tensor] = {}
    # At the first forward pass, bitsandbytes moves the scales of int8 from the weight to its module.
    states = [module.state for module in model.modules() if hasattr(module, "state")]
    for owner in (*model.parameters(), *model.buffers(), *states):
        for tensor in (*([owner] if isinstance(owner, torch.Tensor) else []), *_scales(owner)):
            tensors[tensor.data_ptr() or id(tensor)] = tensor
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def expected_bytes(quantization: Quantization | None, parameters: int, body: int, itemsize: int) -> int:
    """Return the bytes that `parameters` weights of `itemsize` bytes will take in memory.

    `body` is the number of quantised weights: all but embeddings and output layer. In bitsandbytes, every 64 weights of
    4 bits share a float32 scale. A scale for a whole row, as in the other methods, is left out: it is below 0.1 %.
    """
    if quantization is None or quantization.bits is None:
        return parameters * itemsize
    has_blocks = quantization.bits == 4 and not quantization.is_chatglm
    return (parameters - body) * itemsize + int(body * (quantization.bits / 8 + (4 / 64 if has_blocks else 0)))


def _scales(owner: Any) -> list[torch.Tensor]:
    """Return the scale tensors that a quantised weight or an int8 module state refers to."""
    state = getattr(owner, "quant_state", None)
    nested = getattr(state, "state2", None)
    scales = [getattr(owner, "SCB", None), getattr(state, "absmax", None), getattr(nested, "absmax", None)]
    return [scale for scale in scales if isinstance(scale, torch.Tensor)]


def _chatglm(bits: Any) -> Any:
    from harness.checkpoints.chatglm.quantizer import ChatGLMQuantizationConfig

    return ChatGLMQuantizationConfig(bits)


def _bitsandbytes_settings(quantize: str) -> dict[str, Any]:
    if quantize == "int8":
        return {"load_in_8bit": True}
    return {"load_in_4bit": True, "bnb_4bit_quant_type": _BITSANDBYTES_TYPES[quantize]}


def _bitsandbytes(settings: dict[str, Any], dtype: torch.dtype) -> Any:
    from transformers import BitsAndBytesConfig

    logging.getLogger("bitsandbytes.autograd._functions").addFilter(_is_worth_logging)
    # These two override a saved checkpoint's: they decide the computation, not the weights.
    return BitsAndBytesConfig(**{**settings, "llm_int8_threshold": 0.0, "bnb_4bit_compute_dtype": dtype})


def _is_worth_logging(record: logging.LogRecord) -> bool:
    """Return False only for bitsandbytes' log record that int8 casts a layer's inputs, as it does in every layer."""
    return "inputs will be cast from" not in str(record.msg)


def _saved_quantization(base: Path, settings: dict[str, Any], dtype: torch.dtype) -> Quantization:
    name = _name(settings)
    if settings.get("load_in_8bit") or settings.get("load_in_4bit"):
        arguments = {k: value for k, value in settings.items() if not k.startswith("_") and k != "quant_method"}
        try:
            return Quantization(name, _bitsandbytes(arguments, dtype), saved=True, dtype=dtype)
        except (TypeError, ValueError) as error:
            raise _unusable(base, name, error) from error
    from transformers.quantizers.auto import AutoQuantizationConfig

    try:
        if name.startswith(_CHATGLM):
            return Quantization(name, _chatglm(settings.get("bits")), saved=True, dtype=dtype)
        quantization = Quantization(name, AutoQuantizationConfig.from_dict(dict(settings)), saved=True, dtype=dtype)
        if name == "compressed-tensors" and not quantization.rounds_activations:
            quantization.config.dequantize = True  # otherwise at the first forward pass, after PEFT wrapped the layers
        return quantization
    except Exception as error:  # each method's configuration class raises its own type
        raise _unusable(base, name, error) from error


def _name(settings: dict[str, Any]) -> str:
    """Return the name of the quantisation that a saved quantization_config describes."""
    if settings.get("load_in_8bit"):
        return "int8"
    if settings.get("load_in_4bit"):
        return str(settings.get("bnb_4bit_quant_type", "fp4"))
    if settings.get("quant_method") == "chatglm":
        return f"{_CHATGLM}{settings.get('bits')}"
    return str(settings.get("quant_method"))


def _as_dict(settings: Any) -> dict[str, Any]:
    return dict(settings if isinstance(settings, dict) else settings.to_dict())


def _unusable(base: Path, name: str, error: Exception) -> HarnessError:
    advice = (
        "install or update the missing package, or name the checkpoint that this one was made from, with quantize= "
        "if needed"
    )
    return HarnessError(f"{base} in {name} cannot be used here ({files.reason(error)}): {advice}")


def _supported_dtype(base: Path, quantization: Quantization, device: torch.device) -> torch.dtype:
    """Return the dtype that transformers will compute in.

    Raises HarnessError naming the package or device that the quantisation needs.
    """
    from transformers.quantizers.auto import AutoHfQuantizer

    logger = logging.getLogger("transformers")
    previous, logger.level = logger.level, logging.CRITICAL
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantizer = AutoHfQuantizer.from_config(quantization.config, pre_quantized=quantization.saved)
            quantizer.validate_environment(device_map={"": device}, weights_only=True)
            dtype: torch.dtype = quantizer.update_dtype(quantization.dtype)
            return dtype
    except Exception as error:  # ImportError for packages, RuntimeError and ValueError for devices, and others
        raise _unusable(base, quantization.name, error) from error
    finally:
        logger.level = previous
