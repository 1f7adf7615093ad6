"""Merge an adapter into its base, giving one plain checkpoint folder that is proved to answer as the two do.

Merging computes in float32 and saves in the base's own dtype, unless the reference names another. LaWGPT's merge script
checks that one weight changed; here all log-probabilities of a probe are compared.

Not here: merging into quantised weights, which would give a different model (logits differ by 0.04 to 0.5). Instead,
merge into the base before it is quantised, then quantise.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from harness.checkpoints import configs, contents, files, loading, probe
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.located import Located
from harness.checkpoints.reference import CheckpointReference
from harness.checkpoints.types import Model
from harness.common import atomic_write, places
from harness.errors import HarnessError

TOLERANCE = 1e-4
"""Largest allowed difference between log-probabilities of merged and unmerged weights, in float32, unquantised."""


class Merged(NamedTuple):
    """A merged checkpoint folder, and how far its answers are from those of base and adapter."""

    folder: Path
    """Folder of the merged checkpoint."""
    bytes: int
    """Size of its weight files in bytes."""
    dtype: torch.dtype
    """Dtype of the saved weights."""
    difference: float
    """Largest difference between log-probabilities of merged and unmerged weights on a probe, in float32."""
    rounding: float
    """The same difference after rounding to the saved dtype; equal to `difference` for float32."""


def merge(reference: CheckpointReference, output: Path) -> Merged:
    """Merge the adapter of `reference` into its base, and save the result with its tokenizer in folder `output`.

    Raises HarnessError if there is no adapter that can be merged, if `output` is not empty, or if the merged weights do
    not answer as base and adapter did; in these cases nothing is left behind.
    """
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise HarnessError(f"{output} is not empty: name a new folder with --output")
    located = loading.locate(replace(reference, dtype="float32"))
    require_mergeable(located)
    dtype = loading.locate(replace(reference, dtype=reference.dtype or "auto")).dtype
    checkpoint = loading.load(located)
    rows = checkpoint.model.get_input_embeddings().weight.shape[0]
    ids = probe.token_ids(rows, located.max_length, [], located.device, configs.context_marks(located.config))
    unmerged = _logprobs(checkpoint.model, ids)
    model = _merged(checkpoint)
    difference = float((_logprobs(model, ids) - unmerged).abs().max())
    if not difference <= TOLERANCE:
        raise HarnessError(
            f"after merging, {located.name} answers differently from base and adapter (log-probabilities in float32 "
            f"differ by {difference:.2g}, and {TOLERANCE:.0e} is allowed): evaluate it unmerged"
        )
    model.to(dtype)
    model.config.dtype = dtype
    rounding = float((_logprobs(model, ids) - unmerged).abs().max())
    _save(model, checkpoint, output)
    return Merged(output, files.bytes_on_disk(files.weight_files(output)), dtype, difference, rounding)


def require_mergeable(located: Located) -> None:
    """Raise HarnessError if `located` has no adapter, or one that cannot be merged into its base."""
    adapter = located.adapter_config
    if adapter is None:
        raise HarnessError(f"{located.base} has no adapter to merge: name one, as {located.base},adapter=FOLDER")
    if adapter.is_prompt_learning:
        raise HarnessError(
            f"{adapter.folder} is a {located.kind} adapter: it is what prompts start from, not a change of weights, so "
            "there is nothing to merge; evaluate it as it is"
        )
    if located.reference.rope is not None:
        raise HarnessError(
            "rope=published is no part of weights, so a merged folder cannot keep it: leave it out here, and write it "
            "behind the merged folder where that is evaluated"
        )
    if located.quantization is not None:
        raise HarnessError(
            f"{located.base} in {located.quantization.name} cannot be merged into, because rounding makes it another "
            "model: merge into the weights it was made from, then add quantize="
        )


def _merged(checkpoint: Checkpoint) -> Model:
    """Return the base's model with the adapter merged into it.

    Raises HarnessError if PEFT cannot merge adapters of this method.
    """
    adapter = checkpoint.located.adapter
    try:
        model = checkpoint.model.merge_and_unload(safe_merge=True)
    except (AttributeError, NotImplementedError, ValueError, TypeError, RuntimeError) as error:
        kind, reason = checkpoint.located.kind, files.reason(error)
        raise HarnessError(f"{adapter} cannot be merged: peft merges no such {kind} adapter ({reason})") from error
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    if all(end is not None for end in ends) and ends[0].weight is not ends[1].weight:
        model.config.tie_word_embeddings = False  # an adapter that trained one of the two unties them
    return model.eval()


def _save(model: Model, checkpoint: Checkpoint, output: Path) -> None:
    """Save model and tokenizer in folder `output`, complete or not at all."""
    from transformers import GenerationConfig

    try:
        with atomic_write.folder(output) as hidden:
            located = checkpoint.located
            model.generation_config = GenerationConfig()
            model.save_pretrained(hidden)
            if located.base.is_dir():
                contents.copy_generation_config(located.base, hidden)
            if located.tokenizer.is_file() or located.layout is not None or located.reference.trust_remote_code:
                checkpoint.tokenizer.save_pretrained(hidden)
            else:
                contents.copy_tokenizer(located.tokenizer, hidden)
            if output.is_dir():
                output.rmdir()  # it is empty, or `merge` would have refused it
    except Exception as error:  # safetensors and tokenizers raise types of their own for what the system refuses
        refusal = places.refusal_of(error)
        if refusal is None:
            raise
        advice = places.advice(refusal, "name another folder with --output")
        raise HarnessError(f"{output} cannot be written ({files.reason(refusal)}): {advice}") from error


def _logprobs(model: Model, ids: torch.Tensor) -> torch.Tensor:
    """Return the log-probabilities (1, T, V) of `model` on token ids (1, T)."""
    return probe.Answers(model).logits(ids).log_softmax(-1)
