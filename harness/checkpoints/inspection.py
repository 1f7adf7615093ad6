"""What there is to know about a checkpoint, in words and numbers for a person."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from harness.checkpoints import adapters, files, loading
from harness.checkpoints.loading import Checkpoint, Located


class Size(NamedTuple):
    """How big an architecture is."""

    parameters: int
    body: int
    """Without what turns tokens into vectors and back: what every token goes through."""


def empty_model(located: Located) -> Any:
    """Return the base's architecture on the meta device: names and sizes, no weights."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(located.config, trust_remote_code=located.reference.trust_remote_code)


def size(located: Located) -> Size:
    """Return the size of the base's architecture."""
    model = empty_model(located)
    count = {id(weight): int(weight.numel()) for weight in model.parameters()}
    ends = [model.get_input_embeddings(), model.get_output_embeddings()]
    tables = {id(weight) for module in ends if module is not None for weight in module.parameters()}
    return Size(sum(count.values()), sum(number for key, number in count.items() if key not in tables))


def facts(located: Located, checkpoint: Checkpoint | None = None) -> dict[str, str]:
    """Return the facts of a located checkpoint by name; those only weights tell need the loaded `checkpoint`."""
    tokenizer = checkpoint.tokenizer if checkpoint else loading.load_tokenizer(located)
    weights = files.weight_files(located.base)
    parameters = size(located).parameters
    found = {
        "kind": located.kind,
        "base": str(located.base),
        "architecture": f"{located.config.model_type}, {parameters:,} parameters",
        "base on disk": f"{files.bytes_on_disk(weights):,} bytes in {len(weights)} file{'s' * (len(weights) > 1)}",
        "computes in": f"{str(located.dtype).removeprefix('torch.')} on {located.device}",
        "context length": f"{located.max_length:,} tokens",
        "tokenizer": f"{located.tokenizer} ({len(tokenizer):,} pieces)",
        "begins and ends texts with": f"{tokenizer.bos_token or 'nothing'}, {tokenizer.eos_token or 'nothing'}",
        "chat template": "yes" if tokenizer.chat_template else "no",
        "fingerprint": located.fingerprint(),
    }
    if located.adapter is not None:
        found["adapter"] = str(located.adapter)
        found["adapter method"] = located.kind
        found["adapter on disk"] = f"{files.bytes_on_disk([files.adapter_weights(located.adapter)]):,} bytes"
        found["trained on"] = adapters.stated_base(located.adapter) or "not said"
    if checkpoint is not None and checkpoint.adapter_parameters is not None:
        held = checkpoint.adapter_parameters
        found["adapter holds"] = f"{held:,} parameters, {held / (held + parameters):.2%} of all"
        found["adapter changes"] = f"logits of a probe by up to {checkpoint.adapter_effect:.4g}"
    return found
