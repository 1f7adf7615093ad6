"""The facts of a checkpoint, in words and numbers for people: what `harness inspect` shows."""

from __future__ import annotations

from harness.checkpoints import (
    ancestry,
    configs,
    files,
    foreign_code,
    history,
    identity,
    loading,
    origin,
    quantization,
    remarks,
    templates,
)
from harness.checkpoints.adapters import attach
from harness.checkpoints.adapters.config import AdapterConfig
from harness.checkpoints.chatglm.dialogues import PLAIN
from harness.checkpoints.chatglm.layout import GENERATIONS
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.located import Located
from harness.checkpoints.types import Tokenizer
from harness.common import places


@places.explaining()
def facts(located: Located, checkpoint: Checkpoint | None = None) -> dict[str, str]:
    """Return the facts of a located checkpoint by name. Facts that need weights are there only with `checkpoint`.

    `checkpoint` is the loaded checkpoint. Raises HarnessError if a file cannot be read.
    """
    with foreign_code.explaining(located.reference):
        return _facts(located, checkpoint)


def _facts(located: Located, checkpoint: Checkpoint | None) -> dict[str, str]:
    tokenizer = checkpoint.tokenizer if checkpoint else loading.load_tokenizer(located)
    shards = files.weight_files(located.base)
    size = configs.size(located)
    saved_by = origin.origin_of(located.adapter or located.base)
    lines = {
        "kind": located.kind,
        "base": str(located.base),
        "architecture": f"{_architecture(located)}, {size.parameters:,} parameters",
        "quantised": _quantised(located),
        "saved by": str(saved_by) if saved_by else "",
        "base on disk": f"{files.bytes_on_disk(shards):,} bytes in {len(shards)} file{'s' * (len(shards) > 1)}",
        "in memory": _memory(located, checkpoint, size),
        "computes in": f"{str(located.dtype).removeprefix('torch.')} on {located.device}",
        "context length": _context(located),
        "tokenizer": f"{located.tokenizer} ({len(tokenizer):,} tokens)",
        "begins and ends texts with": f"{tokenizer.bos_token or 'nothing'}, {tokenizer.eos_token or 'nothing'}",
        "BOS": _bos(tokenizer),
        "chat template": _chat_template(tokenizer),
        "fingerprint": identity.fingerprint(located),
    }
    if located.adapter_config is not None:
        lines |= _adapter(located.adapter_config, checkpoint, size.parameters)
    if (trained := history.of(located)) is not None:
        lines |= history.facts(trained)
    lines["note"] = "; ".join(checkpoint.notes if checkpoint else remarks.on_files(located))
    return {name: line for name, line in lines.items() if line}


def _architecture(located: Located) -> str:
    """Return the model's type; for a ChatGLM, its generation, too."""
    generation = getattr(located.config, "chatglm_generation", None)
    kind = str(located.config.model_type)
    return kind if generation is None else f"{GENERATIONS[generation]} (as a {kind})"


def _adapter(adapter: AdapterConfig, checkpoint: Checkpoint | None, base_parameters: int) -> dict[str, str]:
    parameters = sum(tensor.numel() for tensor in attach.read(adapter).values())
    if checkpoint is not None and checkpoint.adapter_parameters is not None:
        parameters = checkpoint.adapter_parameters  # without embeddings that are only saved along with it
    lines = {
        "adapter": str(adapter.folder),
        "adapter method": adapter.method.lower(),
        "adapter on disk": f"{files.bytes_on_disk(adapter.weight_files):,} bytes",
        "trained on": ancestry.recorded_base(adapter.folder) or adapter.base or "not stated",
        "adapter holds": f"{parameters:,} parameters, {parameters / (parameters + base_parameters):.2%} of all",
    }
    if checkpoint is not None:
        lines["adapter changes"] = f"logits of a probe by up to {checkpoint.adapter_effect:.4g}"
    return lines


def _quantised(located: Located) -> str:
    quantized = located.quantization
    if quantized is None:
        stored, dtype = located.stored_as, str(located.dtype).removeprefix("torch.")
        return f"{stored}, dequantised into {dtype} during loading" if stored else ""
    line = f"{located.quantization_name}, {'as saved' if quantized.saved else 'during loading'}"
    return f"{line}; embeddings, norms and the output layer stay unquantised" if quantized.bits else line


def _memory(located: Located, checkpoint: Checkpoint | None, size: configs.Size) -> str:
    if checkpoint is not None:
        return f"{checkpoint.memory_bytes:,} bytes"
    if located.quantization is not None and located.quantization.bits is None:
        return ""
    expected = quantization.expected_bytes(located.quantization, size.parameters, size.body, located.dtype.itemsize)
    return f"about {expected:,} bytes for the base"


def _context(located: Located) -> str:
    if not located.virtual_tokens:
        return f"{located.max_length:,} tokens"
    total = located.max_length + located.virtual_tokens
    return f"{located.max_length:,} tokens, {total:,} less {located.virtual_tokens:,} virtual ones"


def _bos(tokenizer: Tokenizer) -> str:
    """Return in words what puts BOS at the start of a text. The engine adds no BOS to a text that already has one."""
    rules = getattr(tokenizer, "prompt_rules", PLAIN)
    if rules.beginning:
        tokens = " ".join(tokenizer.convert_ids_to_tokens(list(rules.beginning)))
        return f"the tokenizer adds {tokens} {'behind a context' if rules.ending else 'before a text'}"
    if tokenizer.bos_token is None:
        return "none"
    is_added = tokenizer("A")["input_ids"][:1] == [tokenizer.bos_token_id]
    line = "the tokenizer adds it" if is_added else "the tokenizer adds none"
    if tokenizer.chat_template:
        try:
            text = templates.render(tokenizer, [{"role": "user", "content": "A"}])
        except templates.TemplateRenderingError:  # a template may refuse a conversation
            return line
        if text.startswith(tokenizer.bos_token):
            line += ", the chat template writes it" + ("; it is never there twice" if is_added else "")
    return line


def _chat_template(tokenizer: Tokenizer) -> str:
    if not tokenizer.chat_template:
        return "no"
    return "yes, and it uses enable_thinking" if "enable_thinking" in str(tokenizer.chat_template) else "yes"
