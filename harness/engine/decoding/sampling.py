"""How the next token is chosen: a task's settings, and the choice from logits.

Greedy decoding takes the argmax. Sampling draws every request's tokens from a generator seeded by (seed, prompt,
sample), so that sampled text depends on neither the batch nor the order. What the model's own generation_config would
add (a repetition penalty, a temperature) is not applied: the task's settings are the protocol. A repetition penalty
(Keskar et al. 2019, CTRL) is transformers': over the ids of prompt and answer, before temperature, top-k and top-p.

Not here: when a text ends (`harness.engine.decoding.stopping`), models.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from harness.engine.packing.packs import nan_found
from harness.errors import HarnessError

DEFAULT_MAX_TOKENS = 256  # lm-eval's, where a task names none
MAX_TOKENS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_NEUTRAL = {"num_beams": 1, "use_cache": True}


@dataclass(frozen=True)
class Settings:
    """How a continuation is decoded; `temperature` 0 is greedy."""

    until: tuple[str, ...] = ()
    max_tokens: int = DEFAULT_MAX_TOKENS
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0

    @property
    def digest(self) -> str:
        """A canonical spelling, for keys."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def manner(self) -> str:
        """A spelling of all but how long an answer may be: rows that share it can be decoded side by side."""
        return replace(self, max_tokens=0).digest


class Prompt(NamedTuple):
    """Token ids to continue, how, and which of several samples this is."""

    ids: list[int]
    settings: Settings
    sample: int = 0
    thinking: bool = False
    """The prompt leaves a thought open, so that the answer begins in its middle."""

    def fed(self, max_length: int) -> list[int]:
        """Return the ids that leave room for the answer; the others are lost on the left, as in lm-eval."""
        return self.ids[-(max_length - self.settings.max_tokens) :]

    def at_most(self, tokens: int) -> Prompt:
        """Return this prompt with an answer of so many tokens at most, or of fewer where its settings say so."""
        return self._replace(settings=replace(self.settings, max_tokens=min(tokens, self.settings.max_tokens)))


def settings(gen_kwargs: Mapping[str, Any], eos: str | None) -> Settings:
    """Return the settings that lm-eval's `generation_kwargs` spell; `eos` is the end-of-text token as text.

    Raises HarnessError on a setting that this decoder does not know, so that none is silently dropped.
    """
    given = {key: value for key, value in gen_kwargs.items() if value is not None}
    until = given.pop("until", [])
    until = [until] if isinstance(until, str) else until
    if not isinstance(until, list | tuple) or not all(isinstance(text, str) for text in until):
        raise HarnessError(f"the task decodes with until={until!r}: write a text, in quotes, or a list of texts")
    limits = [
        _number(given, key, 0, "a whole number above 0", lambda n: n >= 1, int) for key in MAX_TOKENS if key in given
    ]
    temperature = _number(given, "temperature", 0.0, "0 or more", lambda t: 0 <= t < math.inf)
    top_p = _number(given, "top_p", 1.0, "above 0 and at most 1", lambda p: 0 < p <= 1)
    top_k = _number(given, "top_k", 0, "a whole number; 0 or -1 keep all tokens", lambda k: k >= -1, int)
    penalty = _number(given, "repetition_penalty", 1.0, "above 0", lambda p: 0 < p < math.inf)
    sample = given.pop("do_sample", temperature > 0)
    if not isinstance(sample, bool):
        raise HarnessError(f"the task decodes with do_sample={sample!r}: write true or false")
    if sample and not temperature and gen_kwargs.get("temperature") is not None:
        raise HarnessError("the task decodes with do_sample=True and temperature=0, which contradict: leave one out")
    for key, value in given.items():
        if key not in _NEUTRAL or _NEUTRAL[key] != value:
            raise HarnessError(f"the task decodes with {key}={value!r}, which this decoder does not know")
    return Settings(
        until=tuple(text for text in dict.fromkeys([*until, eos]) if text),
        max_tokens=limits[0] if limits else DEFAULT_MAX_TOKENS,
        temperature=(temperature or 1.0) if sample else 0.0,
        top_p=top_p if sample else 1.0,
        top_k=max(0, top_k) if sample else 0,
        repetition_penalty=penalty,
    )


def _number(
    given: dict[str, Any], name: str, default: float, rule: str, obeys: Callable[[Any], bool], kind: type = float
) -> Any:
    """Take `name` out of `given`, as a number of `kind`; raise HarnessError where it does not obey the `rule`."""
    value = given.pop(name, default)
    try:
        number = kind(value)
        is_right = number == float(value) and obeys(number)
    except (TypeError, ValueError, OverflowError):
        is_right = False
    if not is_right:
        raise HarnessError(f"the task decodes with {name}={value!r}: it must be {rule}")
    return number


def require_room(prompts: Sequence[Prompt], max_length: int) -> None:
    """Raise HarnessError where an answer alone would fill the context."""
    for prompt in prompts:
        if prompt.settings.max_tokens >= max_length:
            raise HarnessError(
                f"a task asks for up to {prompt.settings.max_tokens:,} new tokens, but the context is {max_length:,}: "
                "nothing is left for the prompt; set max_length= if the model can take more"
            )


class Chooser:
    """Chooses next tokens for rows of one manner, each with its own random stream."""

    def __init__(self, how: Settings) -> None:
        self._how = how
        penalty = how.repetition_penalty
        self._penalty = RepetitionPenaltyLogitsProcessor(penalty) if penalty != 1.0 else None
        self._warpers = LogitsProcessorList()
        if how.temperature:
            self._warpers.append(TemperatureLogitsWarper(how.temperature))
        if how.top_k:
            self._warpers.append(TopKLogitsWarper(how.top_k))
        if how.top_p < 1:
            self._warpers.append(TopPLogitsWarper(how.top_p))

    def next(
        self, logits: torch.Tensor, ids: Sequence[Sequence[int]], generators: Sequence[torch.Generator | None]
    ) -> list[int]:
        """Return the next token of each row of float32 logits (R, V), which follow `ids` of prompt and answer.

        Raises HarnessError if the logits are NaN.
        """
        if self._penalty is not None:
            seen = [torch.tensor([one], device=logits.device) for one in ids]
            rows = [self._penalty(one, row[None])[0] for one, row in zip(seen, logits, strict=True)]
            logits = torch.stack(rows)
        if not self._how.temperature:
            highest, best = logits.max(-1)
            if highest.isnan().any():
                raise nan_found()
            return list(best.tolist())
        odds = self._warpers(torch.empty(0), logits).softmax(-1).cpu()
        if odds[:, 0].isnan().any():
            raise nan_found()
        return [int(torch.multinomial(row, 1, generator=g)) for row, g in zip(odds, generators, strict=True)]


def generator(seed: int, prompt: Prompt) -> torch.Generator | None:
    """Return the random stream of `prompt`; None where nothing is drawn."""
    if not prompt.settings.temperature:
        return None
    digest = hashlib.sha256(json.dumps([seed, prompt.sample, prompt.ids]).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
