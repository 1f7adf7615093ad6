"""What there is to know about a checkpoint, in words and numbers for a person."""

from __future__ import annotations

from typing import Any

from harness.checkpoints import configs, discovery, files, loading, quantization
from harness.checkpoints.adapters import attach
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.located import Located


def facts(located: Located, checkpoint: Checkpoint | None = None) -> dict[str, str]:
    """Return the facts of a located checkpoint by name; those only weights tell need the loaded `checkpoint`."""
    tokenizer = checkpoint.tokenizer if checkpoint else loading.load_tokenizer(located)
    shards = files.weight_files(located.base)
    size = configs.size(located)
    left = discovery.origin(located.adapter or located.base)
    found = {
        "kind": located.kind,
        "base": str(located.base),
        "architecture": f"{located.config.model_type}, {size.parameters:,} parameters",
        "quantised": _quantised(located),
        "left by": str(left) if left else "",
        "base on disk": f"{files.bytes_on_disk(shards):,} bytes in {len(shards)} file{'s' * (len(shards) > 1)}",
        "in memory": _memory(located, checkpoint, size),
        "computes in": f"{str(located.dtype).removeprefix('torch.')} on {located.device}",
        "context length": _context(located),
        "tokenizer": f"{located.tokenizer} ({len(tokenizer):,} pieces)",
        "begins and ends texts with": f"{tokenizer.bos_token or 'nothing'}, {tokenizer.eos_token or 'nothing'}",
        "BOS": _bos(tokenizer),
        "chat template": _template(tokenizer),
        "fingerprint": located.fingerprint(),
    }
    if located.adapter is not None:
        found |= _adapter(located, checkpoint, size.parameters)
    found["note"] = "; ".join(checkpoint.notes if checkpoint else loading.doubts(located))
    return {name: fact for name, fact in found.items() if fact}


def _adapter(located: Located, checkpoint: Checkpoint | None, parameters: int) -> dict[str, str]:
    assert located.adapter is not None
    file = files.adapter_weights(located.adapter)
    held = sum(tensor.numel() for tensor in attach.read(located.adapter).values())
    if checkpoint is not None and checkpoint.adapter_parameters is not None:
        held = checkpoint.adapter_parameters  # without embeddings that only came along
    found = {
        "adapter": str(located.adapter),
        "adapter method": located.kind,
        "adapter on disk": f"{files.bytes_on_disk([file]):,} bytes",
        "trained on": attach.stated_base(located.adapter) or "not said",
        "adapter holds": f"{held:,} parameters, {held / (held + parameters):.2%} of all",
    }
    if checkpoint is not None:
        found["adapter changes"] = f"logits of a probe by up to {checkpoint.adapter_effect:.4g}"
    return found


def _quantised(located: Located) -> str:
    found = located.quantization
    if found is None:
        return ""
    how = f"{found.name}, {'as saved' if found.saved else 'as it loads'}"
    return f"{how}; embeddings, norms and the output layer are not" if found.bits else how


def _memory(located: Located, checkpoint: Checkpoint | None, size: configs.Size) -> str:
    if checkpoint is not None:
        return f"{checkpoint.memory_bytes:,} bytes"
    if located.quantization is not None and located.quantization.bits is None:
        return ""
    held = quantization.expected_bytes(located.quantization, size.parameters, size.body, located.dtype.itemsize)
    return f"about {held:,} bytes for the base"


def _context(located: Located) -> str:
    if not located.virtual_tokens:
        return f"{located.max_length:,} tokens"
    whole = located.max_length + located.virtual_tokens
    return f"{located.max_length:,} tokens, {whole:,} less {located.virtual_tokens:,} virtual ones"


def _bos(tokenizer: Any) -> str:
    """Say who writes the BOS that begins a text; the engine adds none to a text that has one."""
    if tokenizer.bos_token is None:
        return "none"
    added = tokenizer("A")["input_ids"][:1] == [tokenizer.bos_token_id]
    said = "the tokenizer adds it" if added else "the tokenizer adds none"
    if tokenizer.chat_template:
        try:
            text = tokenizer.apply_chat_template([{"role": "user", "content": "A"}], tokenize=False)
        except Exception:  # a template may refuse a conversation in whatever way it likes
            return said
        if text.startswith(tokenizer.bos_token):
            said += ", the chat template writes it" + ("; it is never there twice" if added else "")
    return said


def _template(tokenizer: Any) -> str:
    if not tokenizer.chat_template:
        return "no"
    return "yes, and it knows enable_thinking" if "enable_thinking" in str(tokenizer.chat_template) else "yes"
