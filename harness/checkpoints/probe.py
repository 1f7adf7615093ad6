"""Proof that a loaded checkpoint answers: finitely, causally, and not as its base does where it has an adapter.

Everything is asked of one short probe of token ids, since no list of architectures or methods is ever complete.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from harness.checkpoints import files
from harness.checkpoints.root_cache import EMPTY, RootCache
from harness.errors import HarnessError

PROBE_TOKENS = 64
# What rounding may change, as a share of the largest logit; what is really different changes by the whole.
ROUNDING = 1e-3  # in float32
ROUNDING_ELSEWHERE = 5e-2


class Answers(NamedTuple):
    """A model as it answers now, and what it starts from."""

    model: Any
    root: RootCache = EMPTY

    def logits(self, probe: torch.Tensor) -> torch.Tensor:
        """Return float32 logits (1, T, V) of probe (1, T) ids."""
        with torch.inference_mode():
            logits: torch.Tensor = self.root.forward(self.model, probe).logits
        return logits.float()


def probe(vocabulary: int, max_length: int, own: list[int], device: torch.device) -> torch.Tensor:
    """Return (1, T) token ids: `own` ones, which an adapter trained by themselves, and then some no prompt prefers."""
    generator = torch.Generator().manual_seed(0)
    length = min(PROBE_TOKENS, max_length)
    drawn = torch.randint(vocabulary, (length,), generator=generator)
    known = torch.tensor([i for i in own if i < vocabulary][: length // 2], dtype=torch.long)
    return torch.cat([known, drawn])[None, :length].to(device)


def own_tokens(model: Any) -> list[int]:
    """Return the ids of the tokens that the adapter trained by themselves: a probe without them would not show it."""
    config = model.active_peft_config
    given = [getattr(config, name, None) or [] for name in ("token_indices", "trainable_token_indices")]
    lists = [ids for one in given for ids in (one.values() if isinstance(one, dict) else [one])]
    return sorted({int(i) for ids in lists for i in ids})


def effect(
    adapted: Answers,
    weights: dict[str, torch.Tensor],
    ids: torch.Tensor,
    plain: torch.Tensor | None = None,
    *,
    rounds: bool = False,
) -> float:
    """Return the largest absolute difference in logits that an adapter makes on probe `ids` (1, T), 0.0 if it is none.

    `weights` are what its file holds: an adapter of nothing but zeros was never trained, though a prefix of zeros draws
    attention, and DoRA's zeros erase the base. `plain` are the base's logits where it cannot be asked any more; with
    `rounds`, what rounding explains is no difference.
    """
    if not any(bool(tensor.any()) for tensor in weights.values()):
        return 0.0
    there = adapted.logits(ids)
    if adapted.root.layers:
        plain = Answers(adapted.model).logits(ids)
    elif plain is None:
        with adapted.model.disable_adapter():
            plain = adapted.logits(ids)
    rounding = _rounding(adapted.model) if rounds or _only_rounds(weights) else 0.0
    largest = float((there - plain).abs().max())
    return 0.0 if largest <= rounding * float(plain.abs().max()) else largest  # NaN is for check_answers to tell


def check_answers(answers: Answers, ids: torch.Tensor, name: str, kind: str, dtype: torch.dtype) -> None:
    """Raise HarnessError if the checkpoint `name` cannot run, answers NaN, or lets later tokens change earlier ones."""
    try:
        logits = answers.logits(ids)
        last = torch.cat([ids[:, :-1], (ids[:, -1:] + 1) % int(logits.shape[-1])], 1)
        changed = answers.logits(last)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, AssertionError) as error:
        why = files.reason(error)
        raise HarnessError(f"{name} cannot be run ({why}): it is a {kind}, try another transformers") from error
    if not bool(torch.isfinite(logits).all()):
        shown = str(dtype).removeprefix("torch.")
        why = "its weights are damaged" if shown == "float32" else "damaged weights or overflow: try dtype=float32"
        raise HarnessError(f"{name} answers a probe with NaN or infinite logits in {shown}: {why}")
    if ids.shape[1] > 1:
        before, after = logits[:, :-1], changed[:, :-1]
        # Rounding may differ where experts get another number of tokens; what looks ahead changes by the whole.
        share = ROUNDING if dtype == torch.float32 else ROUNDING_ELSEWHERE
        if float((before - after).abs().max()) > share * max(1.0, float(before.abs().max())):
            raise HarnessError(
                f"{name}, a {kind}, lets what comes later change what came before: it is no causal language model, so "
                "its likelihoods mean nothing here"
            )


def check_size(tokenizer: Any, where: Path, rows: int, base: Path) -> None:
    """Raise HarnessError if the tokenizer has pieces that the base, of `rows` embeddings, does not know."""
    if len(tokenizer) > rows:
        raise HarnessError(
            f"tokenizer {where} has {len(tokenizer):,} pieces but {base} embeds only {rows:,}: "
            "they do not belong together; name the right one with tokenizer="
        )


def _only_rounds(weights: dict[str, torch.Tensor]) -> bool:
    """Tell a LoRA that adds nothing: all its B are zero, so that with DoRA's norms only rounding is left."""
    added = [tensor for key, tensor in weights.items() if "lora_B" in key or "lora_embedding_B" in key]
    others = [key for key in weights if "lora_" not in key]
    return bool(added) and not others and not any(bool(tensor.any()) for tensor in added)


def _rounding(model: Any) -> float:
    return ROUNDING if next(model.parameters()).dtype == torch.float32 else ROUNDING_ELSEWHERE
