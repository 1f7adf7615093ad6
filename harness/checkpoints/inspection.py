"""What there is to know about a checkpoint, in words and numbers for a person."""

from __future__ import annotations

from harness.checkpoints import adapters, configs, files, loading
from harness.checkpoints.loading import Checkpoint, Located


def facts(located: Located, checkpoint: Checkpoint | None = None) -> dict[str, str]:
    """Return the facts of a located checkpoint by name; those only weights tell need the loaded `checkpoint`."""
    tokenizer = checkpoint.tokenizer if checkpoint else loading.load_tokenizer(located)
    shards = files.weight_files(located.base)
    parameters = configs.size(located).parameters
    found = {
        "kind": located.kind,
        "base": str(located.base),
        "architecture": f"{located.config.model_type}, {parameters:,} parameters",
        "base on disk": f"{files.bytes_on_disk(shards):,} bytes in {len(shards)} file{'s' * (len(shards) > 1)}",
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
