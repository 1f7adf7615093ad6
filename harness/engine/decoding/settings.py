"""Decoding settings: a task's `generation_kwargs`, checked and completed.

An unknown setting is an error, so that no setting is silently ignored. What the model's own `generation_config` would
add (a repetition penalty, a temperature) is not applied, because the task's settings are the protocol.

Not here: how a token is chosen under these settings (`harness.engine.decoding.sampling`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from harness.errors import HarnessError

DEFAULT_MAX_TOKENS = 256
"""Largest number of tokens of an answer if the task states no limit, as in lm-eval."""
MAX_TOKENS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""Names under which a task may state the limit on an answer's tokens."""
_WITHOUT_EFFECT = {"num_beams": 1, "use_cache": True}


@dataclass(frozen=True)
class Settings:
    """How a prompt is continued."""

    until: tuple[str, ...] = ()
    """Stop strings: the answer ends before the first of them."""
    max_tokens: int = DEFAULT_MAX_TOKENS
    """Largest number of tokens of an answer."""
    temperature: float = 0.0
    """The sampling temperature; 0 decodes greedily."""
    top_p: float = 1.0
    """The probability mass of the tokens to sample from; 1 keeps all tokens."""
    top_k: int = 0
    """The number of tokens to sample from; 0 keeps all tokens."""
    repetition_penalty: float = 1.0
    """The factor that penalises tokens already in prompt or answer; 1 penalises nothing."""

    @property
    def canonical_json(self) -> str:
        """The settings as canonical JSON, part of the journal's keys."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def batch_key(self) -> str:
        """All settings except the length limit: prompts that share this key can be decoded side by side."""
        return replace(self, max_tokens=0).canonical_json


def parse_settings(generation_kwargs: Mapping[str, Any], eos: str | None) -> Settings:
    """Return the settings that lm-eval's `generation_kwargs` state; `eos`, the end-of-text token, is a stop string too.

    Raises HarnessError on an unknown setting or an invalid value.
    """
    rest = {key: value for key, value in generation_kwargs.items() if value is not None}
    until = rest.pop("until", [])
    until = [until] if isinstance(until, str) else until
    if not isinstance(until, list | tuple) or not all(isinstance(text, str) for text in until):
        raise HarnessError(f"the task decodes with until={until!r}: write a quoted text or a list of texts")
    limits = [
        _pop_number(rest, key, 0, "a whole number above 0", lambda n: n >= 1, int) for key in MAX_TOKENS if key in rest
    ]
    temperature = _pop_number(rest, "temperature", 0.0, "0 or more", lambda t: 0 <= t < math.inf)
    top_p = _pop_number(rest, "top_p", 1.0, "above 0 and at most 1", lambda p: 0 < p <= 1)
    top_k = _pop_number(rest, "top_k", 0, "a whole number; 0 or -1 keep all tokens", lambda k: k >= -1, int)
    penalty = _pop_number(rest, "repetition_penalty", 1.0, "above 0", lambda p: 0 < p < math.inf)
    do_sample = rest.pop("do_sample", temperature > 0)
    if not isinstance(do_sample, bool):
        raise HarnessError(f"the task decodes with do_sample={do_sample!r}: write true or false")
    if do_sample and not temperature and generation_kwargs.get("temperature") is not None:
        raise HarnessError("the task decodes with do_sample=True and temperature=0, which contradict: leave one out")
    for key, value in rest.items():
        if key not in _WITHOUT_EFFECT or _WITHOUT_EFFECT[key] != value:
            raise HarnessError(f"the task decodes with {key}={value!r}, which this decoder does not know")
    return Settings(
        until=tuple(text for text in dict.fromkeys([*until, eos]) if text),
        max_tokens=limits[0] if limits else DEFAULT_MAX_TOKENS,
        temperature=(temperature or 1.0) if do_sample else 0.0,
        top_p=top_p if do_sample else 1.0,
        top_k=max(0, top_k) if do_sample else 0,
        repetition_penalty=penalty,
    )


def max_tokens(generation_kwargs: Mapping[str, Any]) -> int:
    """Return the largest number of tokens that lm-eval's `generation_kwargs` allow an answer."""
    return parse_settings(generation_kwargs, None).max_tokens


def _pop_number(
    settings: dict[str, Any], name: str, default: float, rule: str, is_valid: Callable[[Any], bool], kind: type = float
) -> Any:
    """Remove the setting `name` and return it as a number of `kind`.

    Raises HarnessError if its value is not such a number or is not valid; the message states the `rule`.
    """
    value = settings.pop(name, default)
    try:
        number = kind(value)
        is_right = number == float(value) and is_valid(number)
    except (TypeError, ValueError, OverflowError):
        is_right = False
    if not is_right:
        raise HarnessError(f"the task decodes with {name}={value!r}: it must be {rule}")
    return number
