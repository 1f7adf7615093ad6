"""What a base's configuration says of it, before any weight is read: its kind, size, context and positions."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from harness.checkpoints import files
from harness.checkpoints.reference import CheckpointReference
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.checkpoints.located import Located

DEFAULT_MAX_LENGTH = 2048


class Size(NamedTuple):
    """How big an architecture is."""

    parameters: int
    body: int
    """Without what turns tokens into vectors and back: what every token goes through."""


def empty_model(located: Located) -> Any:
    """Return the base's architecture on the meta device: names and sizes, no weights."""
    from transformers import AutoModelForCausalLM

    config = copy.deepcopy(located.config)  # PEFT changes a model's own: the number of layers, where some are repeated
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, trust_remote_code=located.reference.trust_remote_code)


def size(located: Located) -> Size:
    """Return the size of the base's architecture, before any quantisation."""
    model = empty_model(located)
    count = {id(weight): int(weight.numel()) for weight in model.parameters()}
    ends = [model.get_input_embeddings(), model.get_output_embeddings()]
    tables = {id(weight) for module in ends if module is not None for weight in module.parameters()}
    return Size(sum(count.values()), sum(number for key, number in count.items() if key not in tables))


def read(base: Path, reference: CheckpointReference) -> Any:
    """Return transformers' configuration of the base in folder `base`.

    Raises HarnessError where it is missing, damaged, or none of a causal language model.
    """
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    content = files.read_json(base / "config.json")
    if not content.get("model_type") and "auto_map" not in content:
        raise HarnessError(f"{base / 'config.json'} names no model_type: fetch or save the checkpoint again")
    if (base / "generation_config.json").is_file():
        files.read_json(base / "generation_config.json")  # transformers passes over a damaged one
    try:
        config = AutoConfig.from_pretrained(str(base), trust_remote_code=reference.trust_remote_code)
    except Exception as error:
        advice = "fetch or save the checkpoint again, or update transformers if its architecture is new"
        raise explained(error, f"{base / 'config.json'} cannot be used", advice, reference) from error
    by_itself = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not by_itself:
        raise HarnessError(f"{base} is a {config.model_type}, which is no causal language model: name one that is")
    return config


def text_config(config: Any) -> Any:
    """Return the part of `config` that is the language model's: all of it, but where images are read, too."""
    return getattr(config, "text_config", None) or config


def other_layers(config: Any) -> list[str]:
    """Return the kinds of layers of a model with `config` that are no attention to all or the last so many tokens."""
    attention = {"full_attention", "sliding_attention", "chunked_attention"}
    return sorted(set(getattr(text_config(config), "layer_types", None) or ()) - attention)


def selection(config: Any) -> int | None:
    """Return beyond how many tokens the layers choose by content which of them to attend to; None where they never do.

    So do Doge and the sparse attention of DeepSeek-V3.2; which tokens are chosen may hang on a last bit.
    """
    found = (getattr(text_config(config), name, None) for name in ("keep_window_size", "index_topk"))
    return min((int(limit) for limit in found if limit), default=None)


def context_length(config: Any) -> int:
    """Return the context length in tokens that a model's configuration states, as lm-eval reads it."""
    text = text_config(config)
    for name in ("n_positions", "max_position_embeddings", "n_ctx"):
        value = getattr(text, name, None)
        if value is not None and int(value) > 0:
            return int(value)
    return DEFAULT_MAX_LENGTH


def smallest_window(config: Any) -> int | None:
    """Return how many tokens back the layers with the shortest sight look, or None where all see everything."""
    text = text_config(config)
    found = [getattr(text, name, None) for name in ("sliding_window", "attention_chunk_size", "window_size")]
    return min((int(window) for window in found if isinstance(window, int) and window > 0), default=None)


def position_switch(config: Any) -> int | None:
    """Return the length beyond which a row's positions depend on the longest row beside it, or None.

    LongRoPE takes other frequencies for a whole batch once one row is longer than the model was first trained for.
    """
    text = text_config(config)
    for rope in ropes(text):
        if rope.get("rope_type") in ("longrope", "su", "dynamic"):
            own = rope.get("original_max_position_embeddings")
            return int(own or getattr(text, "original_max_position_embeddings", None) or context_length(config))
    return None


def ropes(config: Any) -> list[dict[str, Any]]:
    """Return every set of RoPE parameters; some models have one for each kind of layer."""
    stated = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    return [stated] if "rope_type" in stated else [one for one in stated.values() if isinstance(one, dict)]


def explained(error: Exception, what: str, advice: str, reference: CheckpointReference) -> HarnessError:
    """Return what to tell a person when a library could not do `what`: why, and `advice` or how to allow its code."""
    if "trust_remote_code" in str(error) and not reference.trust_remote_code:
        return HarnessError(f"{what}: it needs Python code of its own; to run that code, add trust_remote_code=true")
    return HarnessError(f"{what} ({files.reason(error)}): {advice}")
