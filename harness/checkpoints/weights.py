"""Read a base's weights: every key in its place, none left over, none made up.

transformers fills in what is missing with random numbers and passes over what it has no place for, with a warning each;
here both stop.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import torch

from harness.checkpoints import files
from harness.checkpoints.reference import CheckpointReference
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.checkpoints.loading import Located

DEFAULT_MAX_LENGTH = 2048
# Buffers that older libraries saved and newer ones compute.
_OLD_BUFFERS = re.compile(r"\.(masked_bias|position_ids|rotary_emb\.inv_freq)$")


def load(located: Located) -> Any:
    """Return the base's model, on its device, in evaluation mode.

    Raises HarnessError if weights cannot be read, are missing, have no place, or do not fit into memory.
    """
    from transformers import AutoModelForCausalLM

    # The load report that transformers prints is what _require_fit says in one sentence.
    logger = logging.getLogger("transformers.modeling_utils")
    before, logger.level = logger.level, logging.CRITICAL
    try:
        model, outcome = AutoModelForCausalLM.from_pretrained(
            str(located.base),
            config=located.config,
            dtype=located.dtype,
            device_map={"": located.device} if located.device.type == "cuda" else None,
            trust_remote_code=located.reference.trust_remote_code,
            weights_only=True,
            ignore_mismatched_sizes=True,  # told of in `outcome`, and raised below
            output_loading_info=True,
        )
    except torch.OutOfMemoryError as error:
        raise HarnessError(
            f"{located.base} does not fit into the memory of {located.device}: try dtype=bfloat16"
        ) from error
    except Exception as error:  # safetensors, pickle, zip and the configuration classes each raise their own
        what = f"the weights in {located.base} cannot be loaded"
        raise explained(error, what, "fetch or save the checkpoint again", located.reference) from error
    finally:
        logger.level = before
    _require_fit(located, outcome)
    _require_positions(model, located)
    return model.to(located.device).eval()


def _require_positions(model: Any, located: Located) -> None:
    """Raise HarnessError where more tokens are asked for than there are learned positions; rotary ones have no end."""
    own = context_length(located.config)
    if located.max_length > own:
        if any(rope.get("rope_type") == "dynamic" for rope in _ropes(located.config)):
            raise HarnessError(
                f"{located.base} stretches its positions with the longest prompt seen so far, so that answers beyond "
                f"{own} tokens depend on their order: leave max_length out, or give at most {own}"
            )
        for name, module in model.named_modules():
            learned = name.endswith(("wpe", "embed_positions", "position_embeddings")) and hasattr(module, "weight")
            if learned and located.max_length > module.weight.shape[0]:
                raise HarnessError(
                    f"max_length={located.max_length} is more than the {own} tokens that {located.base} learned "
                    "positions for: leave it out, or give less"
                )


def _require_fit(located: Located, outcome: dict[str, Any]) -> None:
    mismatched = [f"{key} is {tuple(had)}, not {tuple(wanted)}" for key, had, wanted in outcome["mismatched_keys"]]
    complaints = [("has weights of other sizes", mismatched), ("lacks weights", outcome["missing_keys"])]
    if not located.reference.allow_unexpected_keys:
        unexpected = [key for key in outcome["unexpected_keys"] if not _OLD_BUFFERS.search(key)]
        complaints.append(("has weights without a place", unexpected))
    for complaint, keys in complaints:
        if keys:
            shown, more = ", ".join(sorted(keys)[:2]), f" and {len(keys) - 2} more" if len(keys) > 2 else ""
            advice = "; allow_unexpected_keys=true ignores them" if "place" in complaint else ""
            raise HarnessError(
                f"{located.base} {complaint} ({shown}{more}): its config.json, a {located.config.model_type}, "
                f"describes another model{advice}"
            )


def context_length(config: Any) -> int:
    """Return the context length in tokens that a model's configuration states, as lm-eval reads it."""
    text = getattr(config, "text_config", None) or config
    for name in ("n_positions", "max_position_embeddings", "n_ctx"):
        value = getattr(text, name, None)
        if value is not None and int(value) > 0:
            return int(value)
    return DEFAULT_MAX_LENGTH


def position_switch(config: Any) -> int | None:
    """Return the length beyond which a row's positions depend on the longest row beside it, or None.

    LongRoPE takes other frequencies for a whole batch once one row is longer than the model was first trained for.
    """
    text = getattr(config, "text_config", None) or config
    for rope in _ropes(text):
        if rope.get("rope_type") in ("longrope", "su", "dynamic"):
            own = rope.get("original_max_position_embeddings")
            return int(own or getattr(text, "original_max_position_embeddings", None) or context_length(config))
    return None


def _ropes(config: Any) -> list[dict[str, Any]]:
    """Return every set of RoPE parameters; some models have one for each kind of layer."""
    stated = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    return [stated] if "rope_type" in stated else [one for one in stated.values() if isinstance(one, dict)]


def explained(error: Exception, what: str, advice: str, reference: CheckpointReference) -> HarnessError:
    """Return what to tell a person when a library could not do `what`: why, and `advice` or how to allow its code."""
    if "trust_remote_code" in str(error) and not reference.trust_remote_code:
        return HarnessError(f"{what}: it needs Python code of its own; to run that code, add trust_remote_code=true")
    return HarnessError(f"{what} ({files.reason(error)}): {advice}")
