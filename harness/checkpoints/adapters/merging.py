"""A merged adapter: base plus adapter as one plain checkpoint folder, proved to answer as the two did.

Merging computes in float32 and saves in the base's own dtype, unless the reference asks for another. LaWGPT's merge
script checks that one weight changed; here all log-probabilities of a probe are compared.

Not here: merging into quantised weights, which would be another model (0.04 to 0.5 of a logit away): merge on the base
as it was, then quantise.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from harness.checkpoints import files, loading
from harness.checkpoints import probe as proof
from harness.checkpoints.adapters import attach
from harness.checkpoints.checkpoint import Checkpoint
from harness.checkpoints.located import Located
from harness.checkpoints.reference import CheckpointReference
from harness.common import atomic_write
from harness.errors import HarnessError

TOLERANCE = 1e-4
"""Largest difference of a log-probability between merged and unmerged in float32 (design: fp32, unquantised)."""


class Merged(NamedTuple):
    """What a merge left behind, and how far it is from base and adapter."""

    folder: Path
    bytes: int
    dtype: torch.dtype
    difference: float
    """Largest difference of a log-probability on a probe, merged against unmerged, in float32."""
    rounding: float
    """The same after rounding to the dtype that was saved; equal to `difference` for float32."""


def merge(reference: CheckpointReference, output: Path) -> Merged:
    """Merge the adapter of `reference` into its base, and save the whole, with its tokenizer, in folder `output`.

    Raises HarnessError where there is no adapter that could be merged, where `output` is taken, or where the merged
    weights do not answer as base and adapter did; then nothing is left behind.
    """
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise HarnessError(f"{output} is not empty: name a new folder with --output")
    located = loading.locate(replace(reference, dtype="float32"))
    _require_mergeable(located)
    saved = loading.locate(replace(reference, dtype=reference.dtype or "auto")).dtype
    checkpoint = loading.load(located)
    probe = proof.probe(checkpoint.model.get_input_embeddings().weight.shape[0], located.max_length, [], located.device)
    before = _logprobs(checkpoint.model, probe)
    model = _merged(checkpoint)
    difference = float((_logprobs(model, probe) - before).abs().max())
    if not difference <= TOLERANCE:
        raise HarnessError(
            f"merged, {located.name} answers otherwise than base and adapter (by {difference:.2g} of a log-probability "
            f"in float32, where {TOLERANCE:.0e} is allowed): evaluate it unmerged"
        )
    model.to(saved)
    model.config.dtype = saved
    rounding = float((_logprobs(model, probe) - before).abs().max())
    _save(model, checkpoint, output)
    return Merged(output, files.bytes_on_disk(files.weight_files(output)), saved, difference, rounding)


def _require_mergeable(located: Located) -> None:
    adapter = located.adapter
    if adapter is None:
        raise HarnessError(f"{located.base} has no adapter to merge: name one, as {located.base},adapter=FOLDER")
    if attach.is_prompt_learning(adapter):
        raise HarnessError(
            f"{adapter} is a {located.kind} adapter: it is what prompts start from, not a change of weights, so there "
            "is nothing to merge; evaluate it as it is"
        )
    if located.quantization is not None:
        raise HarnessError(
            f"{located.base} in {located.quantization.name} cannot be merged into, as rounding makes it another model: "
            "merge on the weights it was made from, then add quantize="
        )


def _merged(checkpoint: Checkpoint) -> Any:
    adapter = checkpoint.located.adapter
    try:
        model = checkpoint.model.merge_and_unload(safe_merge=True)
    except (AttributeError, NotImplementedError, ValueError, TypeError) as error:
        kind, why = checkpoint.located.kind, files.reason(error)
        raise HarnessError(f"{adapter} cannot be merged: peft merges no such {kind} adapter ({why})") from error
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    if all(end is not None for end in ends) and ends[0].weight is not ends[1].weight:
        model.config.tie_word_embeddings = False  # an adapter that trained one of the two unties them
    return model.eval()


def _save(model: Any, checkpoint: Checkpoint, output: Path) -> None:
    """Save into a temporary folder beside `output`, then rename: a killed merge leaves nothing that looks whole."""
    from transformers import GenerationConfig

    try:
        with atomic_write.folder(output) as hidden:
            base = checkpoint.located.base
            if (base / "generation_config.json").is_file():
                model.generation_config = GenerationConfig.from_pretrained(str(base))
            model.save_pretrained(hidden)
            checkpoint.tokenizer.save_pretrained(hidden)
            if output.is_dir():
                output.rmdir()  # empty, or it was refused
    except OSError as error:
        raise HarnessError(f"{output} cannot be written ({files.reason(error)}): name another with --output") from error


def _logprobs(model: Any, probe: torch.Tensor) -> torch.Tensor:
    return proof.Answers(model).logits(probe).log_softmax(-1)
