"""ChatGLM's own quantisation as a method that transformers' `from_pretrained` knows under the name `chatglm`.

    settings = ChatGLMQuantizationConfig(bits=4)
    GlmForCausalLM.from_pretrained(None, config=config, state_dict=weights, quantization_config=settings)

quantises plain weights one by one while loading: the process needs memory for the quantised model and one plain weight.
Codes and scales that the published code saved are loaded as they are if the configuration states them:

    config.quantization_config = {"quant_method": "chatglm", "bits": 4}

Only the linear layers of the blocks are quantised: query_key_value, dense, dense_h_to_4h and dense_4h_to_h, under these
names or those of transformers' GLM. Embeddings, output layer, norms and prefix encoder stay plain.
Importing this module registers the method.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn
from transformers.core_model_loading import ConversionOps
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from harness.checkpoints.chatglm.quantized import BITS, QuantizedLinear, quantize
from harness.errors import HarnessError

METHOD = "chatglm"
"""Name of the method in a quantization_config."""
_GLM = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_up_proj", "down_proj")
_PUBLISHED = ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h")
_NAMES = "|".join((*_GLM, *_PUBLISHED))
_QUANTIZED = re.compile(rf"(^|\.)layers\.\d+\.(\w+\.)*({_NAMES})$")
"""Full names of the linear layers that are quantised."""
_WEIGHTS = frozenset(f"{name}.weight" for name in (*_GLM, *_PUBLISHED))


@register_quantization_config(METHOD)
class ChatGLMQuantizationConfig(QuantizationConfigMixin):  # type: ignore[misc]
    """The settings of the method: bits of a weight, 8 or 4. Raises ValueError for other bits."""

    def __init__(self, bits: int = 8, quant_method: str = METHOD) -> None:
        if type(bits) is not int or bits not in BITS:
            raise ValueError(f"ChatGLM's quantisation has 8 or 4 bits, not {bits}")
        self.bits = bits
        self.quant_method = quant_method


@register_quantizer(METHOD)
class ChatGLMQuantizer(HfQuantizer):  # type: ignore[misc]
    """Puts quantised layers into an empty model, and quantises the plain weights that belong to them."""

    quantization_config: ChatGLMQuantizationConfig

    def __init__(self, quantization_config: ChatGLMQuantizationConfig, **settings: Any) -> None:
        super().__init__(quantization_config, **settings)
        self.misfits: set[str] = set()
        """Names of plain weights whose shape is not that of their layer. transformers reports their sizes."""

    def _process_model_before_weight_loading(self, model: Any, **_: Any) -> None:
        replace_linears(model, self.quantization_config.bits)
        if not self.pre_quantized and model.config.dtype == torch.bfloat16:
            # Otherwise transformers would round float16 weights to bfloat16 before they are quantised.
            model._keep_in_fp32_modules_strict = {*model._keep_in_fp32_modules_strict, *_WEIGHTS}

    def _process_model_after_weight_loading(self, model: Any, **_: Any) -> None:
        model._keep_in_fp32_modules_strict = {*model._keep_in_fp32_modules_strict} - _WEIGHTS

    def param_needs_quantization(self, model: nn.Module, param_name: str, **settings: Any) -> bool:
        """Return whether `param_name` is a plain weight of a quantised layer."""
        layer, _, name = param_name.rpartition(".")
        is_plain = not self.pre_quantized and name == "weight" and param_name not in self.misfits
        return is_plain and isinstance(model.get_submodule(layer), QuantizedLinear)

    def get_quantize_ops(self) -> ConversionOps:
        """Return the operation that quantises a weight."""
        return _Quantize(self)

    def is_serializable(self) -> bool:
        """Return True: the state of a quantised model is that of the published code."""
        return True

    @property
    def is_trainable(self) -> bool:
        """Whether an adapter on the quantised model can be trained."""
        return True


class _Quantize(ConversionOps):  # type: ignore[misc]
    """Replaces the plain weight of a layer by its codes and scales."""

    def __init__(self, quantizer: ChatGLMQuantizer) -> None:
        self.quantizer = quantizer

    @torch.no_grad()
    def convert(
        self, tensors: dict[str, Any], *, full_layer_name: str, model: nn.Module, **_: Any
    ) -> dict[str, torch.Tensor]:
        """Return the codes and scales of the weight in `tensors`, by their names in the model."""
        (value,) = tensors.values()
        weight = value[0] if isinstance(value, list) else value
        layer = model.get_submodule(full_layer_name.rpartition(".")[0])
        if tuple(weight.shape) != (layer.out_features, layer.in_features):
            self.quantizer.misfits.add(full_layer_name)
            return {full_layer_name: weight}
        codes = quantize(weight, self.quantizer.quantization_config.bits)
        return {full_layer_name: codes.weight, f"{full_layer_name}_scale": codes.scale}


def replace_linears(model: nn.Module, bits: int) -> None:
    """Replace the linear layers of the blocks of `model` by empty quantised layers, on the same devices.

    Raises HarnessError if there are none, or if one has an odd number of inputs and `bits` is 4.
    """
    names = [n for n, module in model.named_modules() if isinstance(module, nn.Linear) and _QUANTIZED.search(n)]
    if not names:
        raise HarnessError(
            f"a {type(model).__name__} has no layers that ChatGLM's quantisation covers: use int8 or int4"
        )
    for name in names:
        plain = model.get_submodule(name)
        assert isinstance(plain, nn.Linear)
        model.set_submodule(
            name,
            QuantizedLinear(
                plain.in_features,
                plain.out_features,
                bits,
                bias=plain.bias is not None,
                dtype=plain.weight.dtype,
                device=plain.weight.device,
            ),
        )
