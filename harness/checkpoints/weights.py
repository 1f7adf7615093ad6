"""Read a base's weights: every key in its place, none left over, none made up.

transformers fills in what is missing with random numbers and passes over what it has no place for, with a warning each;
here both stop.
"""

from __future__ import annotations

import copy
import logging
import re
from typing import TYPE_CHECKING, Any

import torch

from harness.checkpoints import configs, quantization
from harness.checkpoints.configs import explained
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.checkpoints.located import Located

# Buffers that older libraries saved and newer ones compute.
_OLD_BUFFERS = re.compile(r"\.(masked_bias|position_ids|rotary_emb\.inv_freq)$")


def load(located: Located) -> Any:
    """Return the base's model, on its device, in evaluation mode.

    Raises HarnessError if weights cannot be read, are missing, have no place, or do not fit into memory.
    """
    from transformers import AutoModelForCausalLM

    quantized = located.quantization
    on_the_fly = {"quantization_config": quantized.config} if quantized and not quantized.saved else {}
    # The load report that transformers prints is what _require_fit says in one sentence.
    logger = logging.getLogger("transformers.modeling_utils")
    before, logger.level = logger.level, logging.CRITICAL
    try:
        model, outcome = AutoModelForCausalLM.from_pretrained(
            str(located.base),
            config=_with_quantization(located),
            dtype=located.dtype,
            device_map={"": located.device} if located.device.type == "cuda" or quantized else None,
            **on_the_fly,
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
    quantization.compute_in_full(model)
    # Quantised weights are where they belong, and bitsandbytes does not let them be moved.
    return (model if quantized else model.to(located.device)).eval()


def _with_quantization(located: Located) -> Any:
    """Return the configuration with what decides how saved quantised weights compute."""
    found = located.quantization
    if found is None or not found.saved:
        return located.config
    config = copy.deepcopy(located.config)
    config.quantization_config = found.config.to_dict()
    return config


def _require_positions(model: Any, located: Located) -> None:
    """Raise HarnessError where more tokens are asked for than there are learned positions; rotary ones have no end."""
    own, wanted = configs.context_length(located.config), located.reference.max_length or 0
    if wanted > own:
        if any(rope.get("rope_type") == "dynamic" for rope in configs.ropes(located.config)):
            raise HarnessError(
                f"{located.base} stretches its positions with the longest prompt seen so far, so that answers beyond "
                f"{own} tokens depend on their order: leave max_length out, or give at most {own}"
            )
        for name, module in model.named_modules():
            learned = name.endswith(("wpe", "embed_positions", "position_embeddings")) and hasattr(module, "weight")
            if learned and wanted > module.weight.shape[0]:
                raise HarnessError(
                    f"max_length={wanted} is more than the {own} tokens that {located.base} learned "
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
