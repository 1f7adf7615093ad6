"""What the configuration of a base states before any weight is read: architecture, size, context and positions."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from harness.checkpoints import capacity, contents, files, foreign_code, gguf, limits
from harness.checkpoints.chatglm import convert as published
from harness.checkpoints.chatglm import layout as layouts
from harness.checkpoints.chatglm import weights as chatglm_weights
from harness.checkpoints.chatglm.layout import Layout
from harness.checkpoints.chatglm.positions import SpecialIds
from harness.checkpoints.located import Located
from harness.checkpoints.reference import CheckpointReference
from harness.checkpoints.types import Model, ModelConfig
from harness.errors import HarnessError

DEFAULT_MAX_LENGTH = 2048
"""Context length in tokens of a model whose configuration states none, as in lm-eval."""


class Size(NamedTuple):
    """The size of an architecture, before any quantisation."""

    parameters: int
    """Number of parameters."""
    body: int
    """Number of parameters that every token passes through: all but the embeddings and the output layer."""
    architecture: str
    """Name of the model's class."""


def empty_model(located: Located) -> Model:
    """Return the base's model on the meta device. It has the names and sizes of the weights, but no numbers.

    Raises HarnessError if the configuration describes no model, or a model that the stored weights cannot fill.
    """
    from transformers import AutoModelForCausalLM

    config = copy.deepcopy(located.config)  # PEFT changes a model's configuration, such as its number of layers
    reference = located.reference
    try:
        with torch.device("meta"), building(located):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=reference.trust_remote_code)
    except HarnessError:
        raise
    except Exception as error:  # a configuration class checks few values, and a model fails wherever one is unsuitable
        advice = "fetch or save the checkpoint again"
        raise explained(
            error, f"no model can be built from the configuration of {located.base}", advice, reference
        ) from error


@contextmanager
def building(located: Located) -> Iterator[None]:
    """Keep a model that is built for `located` inside the `with` block from fetching code or growing too large.

    Raises HarnessError if the model is larger than the stored weights could fill.
    """
    is_trusted = located.reference.trust_remote_code
    is_packed = located.packing is not None or getattr(located.config, "quantization_config", None) is not None
    with foreign_code.no_hub(is_trusted=is_trusted):
        if is_trusted:  # code of its own may build anything
            yield
            return
        with capacity.limited(capacity.capacity(located.base, is_packed=is_packed), located.base):
            yield


def size(located: Located) -> Size:
    """Return the size of the base's architecture, and its name."""
    model = empty_model(located)
    counts = {id(weight): int(weight.numel()) for weight in model.parameters()}
    ends = [model.get_input_embeddings(), model.get_output_embeddings()]
    end_ids = {id(weight) for module in ends if module is not None for weight in module.parameters()}
    body = sum(count for key, count in counts.items() if key not in end_ids)
    return Size(sum(counts.values()), body, type(model).__name__)


def read(base: Path, reference: CheckpointReference) -> ModelConfig:
    """Return the transformers configuration of `base`, a folder or a GGUF file.

    Raises HarnessError if the configuration is missing or damaged, or is not that of a causal language model.
    """
    from transformers import AutoConfig

    if base.is_file():
        return _require_causal(gguf.config(base, is_lenient=reference.allow_unexpected_keys), base)
    file = base / "config.json"
    content = files.read_json(file)
    if not content.get("model_type") and "auto_map" not in content:
        raise HarnessError(f"{file} names no model_type: fetch or save the checkpoint again")
    limits.check_config(file, content)
    if (layout := chatglm_layout(base, reference)) is not None:
        return _published(layout, base, reference)
    foreign_code.check(file, content, is_trusted=reference.trust_remote_code)
    if (base / "generation_config.json").is_file():
        defaults = base / "generation_config.json"
        limits.check_config(defaults, files.read_json(defaults))  # transformers ignores a damaged one
    try:
        code = reference.trust_remote_code
        names = contents.config_files(base)
        with foreign_code.no_hub(is_trusted=code), contents.alone(base, names, code=code) as folder:
            config = AutoConfig.from_pretrained(str(folder), trust_remote_code=code)
        config._name_or_path = str(base)
    except Exception as error:
        advice = "fetch or save the checkpoint again, or update transformers if its architecture is new"
        raise explained(error, f"{file} cannot be used", advice, reference) from error
    return _require_causal(config, base)


def _published(layout: Layout, base: Path, reference: CheckpointReference) -> ModelConfig:
    """Return the configuration of a published ChatGLM folder; raise HarnessError if its settings are unsuitable."""
    try:
        config = published.config(layout)
    except Exception as error:  # configuration classes raise their own types
        raise explained(
            error, f"{base / 'config.json'} cannot be used", "fetch or save the checkpoint again", reference
        ) from error
    config._name_or_path = str(base)
    if layout.saved_bits:
        config.quantization_config = {"quant_method": "chatglm", "bits": layout.saved_bits}
    return config


def check_rope(config: ModelConfig, layout: Layout | None, base: Path, reference: CheckpointReference) -> None:
    """Raise HarnessError if `rope=published` is set for a model whose published code computes angles in float32."""
    if reference.rope is None:
        return
    generation = getattr(config, "chatglm_generation", None)
    if generation == 3:
        raise HarnessError(f"{base} is a ChatGLM3, whose own code computes angles in float32: leave rope=published out")
    if layout is not None and layout.is_guess:
        raise HarnessError(
            f"{base} is a ChatGLM2 or a ChatGLM3, and no file says which: rope=published needs chatglm=2 beside it"
        )
    if generation is None:
        raise HarnessError(f"{base} is a {config.model_type}: rope=published is for ChatGLM-6B and ChatGLM2 only")


def chatglm_layout(base: Path, reference: CheckpointReference) -> Layout | None:
    """Return the layout of `base` if it is a published ChatGLM folder that is loaded without its code, or None.

    Raises HarnessError if the folder or the reference has a setting that cannot be computed.
    """
    if base.is_dir() and not reference.trust_remote_code:
        content = files.read_json(base / "config.json")
        if layouts.is_chatglm(content):
            return layouts.read(base, content, chatglm_weights.names_in(base), reference.chatglm)
    if reference.chatglm is not None:
        raise HarnessError(f"{base} is not in ChatGLM's layout: leave chatglm={reference.chatglm} out")
    return None


def _require_causal(config: ModelConfig, base: Path) -> ModelConfig:
    """Return `config`; raise HarnessError if it is not that of a causal language model."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    brings_class = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not brings_class:
        raise HarnessError(f"{base} is a {config.model_type}, which is not a causal language model: name one that is")
    return config


def without_quantization(config: ModelConfig) -> ModelConfig:
    """Return a copy of `config` without its quantization_config, so that it describes plain weights."""
    plain = copy.deepcopy(config)
    del plain.quantization_config
    return plain


def text_config(config: ModelConfig) -> ModelConfig:
    """Return the part of `config` that describes the language model. Only models that read images have other parts."""
    return getattr(config, "text_config", None) or config


def other_layers(config: ModelConfig) -> list[str]:
    """Return the layer types in `config` that attend neither to all tokens nor to a window of them."""
    attention = {"full_attention", "sliding_attention", "chunked_attention"}
    return sorted(set(getattr(text_config(config), "layer_types", None) or ()) - attention)


def selection_limit(config: ModelConfig) -> int | None:
    """Return the number of tokens beyond which layers attend only to selected tokens; None without such layers.

    Doge and the sparse attention of DeepSeek-V3.2 select tokens by content. The last bit of a number may decide which.
    """
    limits = (getattr(text_config(config), name, None) for name in ("keep_window_size", "index_topk"))
    return min((int(limit) for limit in limits if limit), default=None)


def context_length(config: ModelConfig) -> int:
    """Return the context length in tokens that a model's configuration states, as lm-eval reads it."""
    text = text_config(config)
    for name in ("n_positions", "max_position_embeddings", "n_ctx"):
        value = getattr(text, name, None)
        if value is not None and int(value) > 0:
            return int(value)
    return DEFAULT_MAX_LENGTH


def context_marks(config: ModelConfig) -> SpecialIds | None:
    """Return the ids that end a context whose tokens all see each other (ChatGLM-6B), or None for causal models."""
    return getattr(config, "special_ids", None)


def smallest_window(config: ModelConfig) -> int | None:
    """Return the smallest attention window of any layer in tokens, or None if all layers attend to everything."""
    text = text_config(config)
    windows = [getattr(text, name, None) for name in ("sliding_window", "attention_chunk_size", "window_size")]
    return min((int(window) for window in windows if isinstance(window, int) and window > 0), default=None)


def position_switch(config: ModelConfig) -> int | None:
    """Return the row length in tokens beyond which positions depend on the longest row of the batch; None without one.

    LongRoPE changes the frequencies of a whole batch as soon as one row is longer than the model's original context.
    """
    text = text_config(config)
    for rope in ropes(text):
        if rope.get("rope_type") in ("longrope", "su", "dynamic"):
            stated = rope.get("original_max_position_embeddings")
            return int(stated or getattr(text, "original_max_position_embeddings", None) or context_length(config))
    return None


def ropes(config: ModelConfig) -> list[dict[str, Any]]:
    """Return every set of RoPE parameters; some models have one for each layer type."""
    stated = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    return [stated] if "rope_type" in stated else [value for value in stated.values() if isinstance(value, dict)]


def explained(error: Exception, problem: str, advice: str, reference: CheckpointReference) -> HarnessError:
    """Return a HarnessError that states the `problem`, why a library raised `error`, and the `advice`.

    If the checkpoint needs Python code of its own that is not allowed to run, the error says how to allow it. In this
    case it leaves out the `advice`.
    """
    if "trust_remote_code" in str(error) and not reference.trust_remote_code:
        return HarnessError(f"{problem}: it needs Python code of its own; to run that code, add trust_remote_code=true")
    if reference.trust_remote_code:
        return foreign_code.failure(problem, error, Path(reference.path))
    return HarnessError(f"{problem} ({contents.reason(error)}): {advice}")
