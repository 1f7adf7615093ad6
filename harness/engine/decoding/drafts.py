"""Drafts of an answer's next tokens, taken from its prompt and its own text; one step checks a whole draft.

A step of few rows costs little more than reading the weights, however many tokens each row feeds. Answers often repeat
passages of their prompt or of themselves. If the last tokens of an answer occurred before, the tokens that followed
them there are fed as a draft (prompt lookup decoding, Saxena 2023). Drafts are verified as in Leviathan et al. 2023,
"Fast Inference from Transformers via Speculative Decoding". Each token is still chosen from the model's own logits, and
a draft is kept only as far as it agrees with the chosen tokens. Texts, even sampled ones, are therefore the same as
without drafts.

Not here: how drafts are fed (`harness.engine.decoding.lanes`) and checked (`harness.engine.decoding.continuous`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MATCHED = 3
"""Largest number of final tokens that are looked up earlier in the text; a longer match makes a longer draft."""
PER_MATCHED = 2
"""Number of drafted tokens for each token that matched."""
TRIED, RIGHT = 24, 2
"""Of `TRIED` drafted tokens, at least `RIGHT` must be right, because drafts cost more than they save otherwise."""
PAUSE = 16
"""Number of tokens that are decoded without drafts after too few drafted ones were right."""


class Drafter:
    """Drafts the next tokens of one answer."""

    def __init__(self, prompt: Sequence[int], max_tokens: int) -> None:
        """Take drafts from the ids of `prompt` and from an answer of at most `max_tokens` tokens."""
        self._ids = np.empty(len(prompt) + max_tokens, np.int64)
        self._ids[: len(prompt)] = prompt
        self._prompt, self._known = len(prompt), len(prompt)
        self._tried = self._right = 0  # drafted tokens since the last pause
        self._resumes = 0  # length of the answer from which on there are drafts

    def draft(self, answer: Sequence[int], limit: int) -> list[int]:
        """Return at most `limit` tokens that may follow `answer`, which continues the answer of the last call."""
        end = self._prompt + len(answer)
        self._ids[self._known : end] = answer[self._known - self._prompt :]
        self._known = end
        ids = self._ids[:end]
        if limit < 1 or len(answer) < self._resumes:
            return []
        places = np.flatnonzero(ids[:-1] == ids[-1])
        matched = 0
        while len(places):
            matched, last = matched + 1, int(places[-1])
            if matched == MATCHED:
                break
            places = places[places >= matched]
            places = places[ids[places - matched] == ids[-1 - matched]]
        if not matched:
            return []
        # A text that goes in circles goes on in them: what is too short is repeated.
        return list(map(int, np.resize(ids[last + 1 :], min(limit, PER_MATCHED * matched))))

    def learn(self, drafted: int, right: int) -> None:
        """Record that `right` of the `drafted` tokens of the last draft were right; if too few are, drafts pause."""
        self._tried, self._right = self._tried + drafted, self._right + right
        if self._tried >= TRIED:
            if self._right < RIGHT:
                self._resumes = self._known - self._prompt + PAUSE
            self._tried = self._right = 0
