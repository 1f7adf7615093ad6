"""Proof that a loaded checkpoint answers: its logits are finite and causal, and its adapter changes them.

The checks run the model on a short probe of token ids, because no list of architectures or methods is ever complete.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from harness.checkpoints import files, tokenizer_files
from harness.checkpoints.chatglm import positions
from harness.checkpoints.chatglm.dialogues import PLAIN
from harness.checkpoints.chatglm.positions import SpecialIds
from harness.checkpoints.root_cache import EMPTY, RootCache
from harness.checkpoints.types import Model, Tokenizer
from harness.errors import HarnessError

PROBE_TOKENS = 64
"""Length of the probe in tokens."""


class _Rounding(NamedTuple):
    """How far rounding may change logits, as a share of the largest logit; real differences are as large as logits."""

    float32: float
    coarser: float
    """The share in bfloat16 and float16."""

    def share(self, dtype: torch.dtype) -> float:
        """Return the share for logits computed in `dtype`."""
        return self.float32 if dtype == torch.float32 else self.coarser


ROUNDING = _Rounding(float32=1e-3, coarser=5e-2)


class Answers(NamedTuple):
    """A model in its present state, and the root cache that it starts from."""

    model: Model
    root: RootCache = EMPTY

    def logits(self, ids: torch.Tensor) -> torch.Tensor:
        """Return float32 logits (1, T, V) of token ids (1, T)."""
        with torch.inference_mode():
            logits: torch.Tensor = self.root.forward(self.model, ids).logits
        return logits.float()


def token_ids(
    vocabulary: int, max_length: int, trained: list[int], device: torch.device, marks: SpecialIds | None = None
) -> torch.Tensor:
    """Return the token ids (1, T) of a probe: first those that an adapter `trained`, then random ones.

    Ids are below `vocabulary`; T is at most `PROBE_TOKENS` and `max_length`. For a model that reads contexts both ways,
    the first half is a context, and `marks` end it.
    """
    generator = torch.Generator().manual_seed(0)
    length = min(PROBE_TOKENS, max_length)
    random = torch.randint(vocabulary, (length,), generator=generator)
    first = torch.tensor([i for i in trained if i < vocabulary][: length // 2], dtype=torch.long)
    ids = torch.cat([first, random])[None, :length]
    return positions.with_marks(ids, length // 2, marks).to(device)


def trained_tokens(model: Model) -> list[int]:
    """Return the ids of tokens that the adapter trained individually. Only a probe with them shows its effect."""
    config = model.active_peft_config
    settings = [getattr(config, name, None) or [] for name in ("token_indices", "trainable_token_indices")]
    lists = [ids for value in settings for ids in (value.values() if isinstance(value, dict) else [value])]
    return sorted({int(i) for ids in lists for i in ids})


def effect(
    adapted: Answers,
    weights: dict[str, torch.Tensor],
    ids: torch.Tensor,
    plain: torch.Tensor | None = None,
    *,
    rounds_base: bool = False,
) -> float:
    """Return the largest absolute difference in logits that an adapter makes on probe `ids` (1, T), or 0.0.

    If `weights`, the contents of the adapter's file, are all zeros, the adapter was never trained and the result is
    0.0, even though a prefix of zeros draws attention and DoRA's zeros erase the base. `plain` are the base's logits
    (1, T, V), needed only if the base can no longer be run. With `rounds_base`, a difference that rounding explains
    counts as none.
    """
    if not any(bool(tensor.any()) for tensor in weights.values()):
        return 0.0
    logits = adapted.logits(ids)
    if adapted.root.layers:
        plain = Answers(adapted.model).logits(ids)
    elif plain is None:
        with adapted.model.disable_adapter():
            plain = adapted.logits(ids)
    dtype = next(adapted.model.parameters()).dtype
    rounding = ROUNDING.share(dtype) if rounds_base or _adds_nothing(weights) else 0.0
    largest = float((logits - plain).abs().max())
    return 0.0 if largest <= rounding * float(plain.abs().max()) else largest  # NaN is left to check_answers


def check_answers(
    answers: Answers, ids: torch.Tensor, name: str, kind: str, dtype: torch.dtype, marks: SpecialIds | None = None
) -> None:
    """Raise HarnessError if the checkpoint cannot run, answers with NaN, or lets later tokens change earlier logits.

    With `marks`, which end a context, raise it, too, if the context's last token does not change the logits before it.
    `ids` (1, T) are a probe; `name` and `kind` (its model_type) name the checkpoint in the message.
    """
    try:
        logits = answers.logits(ids)
        other_end = torch.cat([ids[:, :-1], (ids[:, -1:] + 1) % int(logits.shape[-1])], 1)
        changed = answers.logits(other_end)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, AssertionError) as error:
        reason = files.reason(error)
        raise HarnessError(f"{name} cannot be run ({reason}): it is a {kind}, try another transformers") from error
    if not bool(torch.isfinite(logits).all()):
        label = str(dtype).removeprefix("torch.")
        reason = "its weights are damaged" if label == "float32" else "damaged weights or overflow: try dtype=float32"
        raise HarnessError(f"{name} answers a probe with NaN or infinite logits in {label}: {reason}")
    if marks is not None:
        _require_both_ways(answers, ids, logits, name)
    if ids.shape[1] > 1:
        before, after = logits[:, :-1], changed[:, :-1]
        # Rounding may differ where experts receive another number of tokens; looking ahead changes logits as a whole.
        if float((before - after).abs().max()) > ROUNDING.share(dtype) * max(1.0, float(before.abs().max())):
            raise HarnessError(
                f"{name}, a {kind}, lets later tokens change the logits of earlier ones: it is not a causal language "
                "model, so its likelihoods mean nothing here"
            )


def _require_both_ways(answers: Answers, ids: torch.Tensor, logits: torch.Tensor, name: str) -> None:
    """Raise HarnessError if the last token of the context in `ids` (1, T) changes no earlier of `logits` (1, T, V)."""
    last = ids.shape[1] // 2 - 1
    changed = ids.clone()
    changed[0, last] = (ids[0, last] + 1) % 64  # far from the special tokens
    if torch.equal(answers.logits(changed)[:, :last], logits[:, :last]):
        raise HarnessError(f"{name} does not read its context both ways, as a ChatGLM-6B does: its answers are wrong")


def check_vocabulary(
    tokenizer: Tokenizer, folder: Path, rows: int, base: Path, marks: SpecialIds | None = None
) -> None:
    """Raise HarnessError if the tokenizer in `folder` has more tokens than `base` has rows of embeddings.

    Raise it, too, if a short text becomes tokens without a row, or dozens of tokens, or if a model that reads contexts
    both ways has other `marks` than the tokenizer.
    """
    if marks is not None and getattr(tokenizer, "prompt_rules", PLAIN).ending != (marks.gmask, marks.sop):
        raise HarnessError(
            f"{base / 'config.json'} states {marks.gmask:,} and {marks.sop:,} as the ids of [gMASK] and <sop>, and the "
            f"tokenizer in {folder} has others: fetch all files of one version"
        )
    if len(tokenizer) > rows:
        raise HarnessError(
            f"tokenizer {folder} has {len(tokenizer):,} tokens but {base} embeds only {rows:,}: "
            "they do not belong together; name the right one with tokenizer="
        )
    (ids,) = tokenizer_files.ids(tokenizer, ["A 1"])
    if len(ids) > PROBE_TOKENS or any(not 0 <= i < rows for i in ids):
        raise HarnessError(
            f"tokenizer {folder} turns 'A 1' into {len(ids):,} tokens (the largest id is {max(ids):,}) but {base} "
            f"embeds only {rows:,}: fetch or save it again, or name another with tokenizer="
        )


def _adds_nothing(weights: dict[str, torch.Tensor]) -> bool:
    """Return whether all B matrices of a LoRA are zero, so that even DoRA's norms change logits only by rounding."""
    added = [tensor for key, tensor in weights.items() if "lora_B" in key or "lora_embedding_B" in key]
    others = [key for key in weights if "lora_" not in key]
    return bool(added) and not others and not any(bool(tensor.any()) for tensor in added)
