"""LoRAs that were trained on the published ChatGLM2 or ChatGLM3, put on GLM's modules, whose names are others.

A LoRA of `query_key_value` becomes three, which share A; the rows of B, of DoRA's magnitudes, and of weights that were
trained in full are split as those of the layer itself. Every row of a product depends on its own row of B and of the
weight only, so this is exact. Ranks, scales and layers that the configuration chooses by name are resolved against the
published names, by PEFT's own rules.

Not here: ChatGLM-6B, whose modules keep their names, and prefixes (`harness.checkpoints.chatglm.prefix`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from harness.checkpoints.chatglm import convert
from harness.checkpoints.chatglm.layout import PREFIX
from harness.checkpoints.types import Model, ModelConfig
from harness.errors import HarnessError

_ROOT = "base_model.model."
_PUBLISHED = f"{_ROOT}transformer."
_LINEARS = (convert.FUSED, "self_attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h")
_NORMS = ("input_layernorm", "post_attention_layernorm")
_ENDS = ("transformer.embedding.word_embeddings", "transformer.encoder.final_layernorm", "transformer.output_layer")
_SHARED = ("lora_A",)
"""Parts of a LoRA that belong to the inputs of a layer, and so to each of the three layers."""
_BY_ROWS = ("lora_B", "lora_magnitude_vector", "weight", "bias", "base_layer.", "modules_to_save", "original_module")
"""Parts of a LoRA, or of a layer that was trained in full, whose rows belong to the outputs of a layer."""


def has_published_names(weights: Iterable[str], config: ModelConfig) -> bool:
    """Return whether the keys `weights` of an adapter name ChatGLM's modules, and the base is a converted ChatGLM."""
    is_converted = getattr(config, "chatglm_generation", None) in (2, 3)
    return is_converted and any(key.startswith(_PUBLISHED) and PREFIX not in key for key in weights)


def published_modules(config: ModelConfig) -> list[str]:
    """Return the published names of the modules of a converted ChatGLM with this configuration."""
    layers = range(int(config.num_hidden_layers))
    return [*_ENDS, *(f"transformer.encoder.layers.{i}.{part}" for i in layers for part in (*_LINEARS, *_NORMS))]


def weights(tensors: Mapping[str, torch.Tensor], config: ModelConfig) -> dict[str, torch.Tensor]:
    """Return an adapter's `tensors` under the names, and in the parts, of the modules of GLM.

    Keys of modules that ChatGLM does not have keep their names, so that they are reported as surplus. Raises
    HarnessError if a tensor of `query_key_value` cannot be split.
    """
    rows = convert.fused_rows(config.num_attention_heads, config.num_key_value_heads, config.head_dim)
    modules = {f"{_ROOT}{name}.": convert.module(name) for name in published_modules(config)}
    result: dict[str, torch.Tensor] = {}
    for key, tensor in tensors.items():
        start = next((start for start in modules if key.startswith(start)), None)
        if start is None:
            result[key] = tensor
            continue
        targets, rest = modules[start], key[len(start) :]
        parts = [tensor] if len(targets) == 1 else _split(key, rest, tensor, rows)
        for target, part in zip(targets, parts, strict=True):
            result[f"{_ROOT}{target}.{rest}"] = part
    return result


def renamed(stated: Any, model: Model) -> Any:
    """Return PEFT's configuration `stated` of a new LoRA for `model`, with GLM's names in place of published ones.

    It stays as it is if the model is no converted ChatGLM, or if it names none of the published modules. A new LoRA of
    `query_key_value` has an A for each of the three layers. Raises HarnessError if published names and GLM's are mixed.
    """
    if getattr(model.config, "chatglm_generation", None) not in (2, 3):
        return stated
    names = published_modules(model.config)
    if not any(name.endswith(_LINEARS) for name in _targets(stated, names)):
        return stated
    entries = stated.target_modules if isinstance(stated.target_modules, set | list) else ()
    others = sorted(entry for entry in entries if not any(_ends_with(name, entry) for name in names))
    if others:
        raise HarnessError(
            f"target_modules has {', '.join(others)} beside names of the published ChatGLM, which has no such modules"
        )
    return _on_glm(stated, names)


def peft_config(stated: Any, model: Model, source: str) -> Any:
    """Return PEFT's configuration `stated` with the names of GLM's modules in place of the published ones.

    `source` names the adapter in messages. Raises HarnessError if `query_key_value` was trained by a method that has
    another meaning for three layers.
    """
    names = published_modules(model.config)
    if any(name.endswith(convert.FUSED) for name in _targets(stated, names)):
        _require_splittable(stated, source)
    return _on_glm(stated, names)


def _targets(stated: Any, names: Iterable[str]) -> list[str]:
    """Return those of the published `names` on which PEFT's configuration `stated` puts an adapter."""
    from peft.tuners.tuners_utils import check_target_module_exists

    if str(stated.target_modules) == "all-linear":
        return [name for name in names if name.endswith(_LINEARS)]
    return [name for name in names if check_target_module_exists(stated, name)]


def _on_glm(stated: Any, names: Sequence[str]) -> Any:
    """Return PEFT's configuration `stated`, which is about the modules `names`, with the names of GLM's modules."""
    config, targets = copy.deepcopy(stated), _targets(stated, names)
    config.target_modules = {new for old in targets for new in convert.module(old)}
    for setting in ("layers_to_transform", "layers_pattern", "exclude_modules"):  # resolved above
        if getattr(config, setting, None) is not None:
            setattr(config, setting, None)
    for setting, default in (("rank_pattern", "r"), ("alpha_pattern", "lora_alpha")):
        if getattr(stated, setting, None):
            setattr(config, setting, _pattern(getattr(stated, setting), getattr(stated, default), targets))
    if getattr(stated, "modules_to_save", None):
        saved = [name for name in names if any(_ends_with(name, entry) for entry in stated.modules_to_save)]
        config.modules_to_save = sorted({new for old in saved for new in convert.module(old)})
    indices = getattr(stated, "trainable_token_indices", None)
    if isinstance(indices, dict):
        config.trainable_token_indices = {new: ids for entry, ids in indices.items() for new in _modules(entry, names)}
    return config


def _modules(entry: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return GLM's names of the first of the published `names` that `entry` names; `entry` itself if it names none."""
    return next((convert.module(name) for name in names if _ends_with(name, entry)), (entry,))


def _split(key: str, rest: str, tensor: torch.Tensor, rows: list[tuple[int, int]]) -> list[torch.Tensor]:
    """Return the three parts of a tensor of `query_key_value`, whose name is `rest` behind that of the layer."""
    if rest.startswith(_SHARED):
        return [tensor, tensor.clone(), tensor.clone()]
    if rest.startswith(_BY_ROWS) and len(tensor) == rows[-1][1]:
        return [tensor[start:stop].clone() for start, stop in rows]
    sizes = " × ".join(map(str, tensor.shape))
    raise HarnessError(
        f"{key.removeprefix(_ROOT)} ({sizes}) cannot be split into queries, keys and values ({rows[-1][1]} rows): name "
        "the base that the adapter was trained on; only LoRA and DoRA are supported on query_key_value"
    )


def _pattern(pattern: Mapping[str, int], default: int, targets: Iterable[str]) -> dict[str, int]:
    """Return the value that PEFT reads in `pattern` for each of the published `targets`, by the names of GLM."""
    from peft.utils.other import get_pattern_key

    values = {old: pattern.get(get_pattern_key(pattern.keys(), old), default) for old in targets}
    return {new: value for old, value in values.items() if value != default for new in convert.module(old)}


def _require_splittable(config: Any, source: str) -> None:
    """Raise HarnessError if an adapter of `query_key_value` would be another one on three separate layers."""
    method = str(getattr(config.peft_type, "value", config.peft_type))
    initial = getattr(config, "init_lora_weights", None)
    is_factored = isinstance(initial, str) and initial.lower().startswith(("pissa", "olora", "corda", "loftq", "eva"))
    if method != "LORA" or is_factored:
        kind = initial if is_factored else method
        raise HarnessError(
            f"{source} is a {kind} adapter of query_key_value, which is three layers here and on which only LoRA "
            "and DoRA are exact: merge it into its base with the library that trained it"
        )


def _ends_with(name: str, entry: str) -> bool:
    return name == entry or name.endswith(f".{entry}")
