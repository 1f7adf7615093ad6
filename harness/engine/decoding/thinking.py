"""Where a thought ends and the answer begins, for models that reason before they answer.

A thought extends from `<think>` (or from the first character, if the prompt left a thought open) to the last
`</think>`. The answer is what follows, without leading space, as in lm-eval (`postprocess_generated_text` in
lm_eval/models/utils.py, with `think_end_token="</think>"`). A thought that never ends has no answer: the answer is the
empty text, not an excerpt of the thought, and it is counted. Text with neither mark is unchanged.

Not here: tokens, and what makes a model reason (its chat template).
"""

from __future__ import annotations

from typing import NamedTuple

OPEN, CLOSE = "<think>", "</think>"


class Parts(NamedTuple):
    """A generated text in two parts: `thought + answer` is the text."""

    thought: str
    """The thought with its marks and the space after it; empty if there is none."""
    answer: str
    finished: bool
    """Whether no thought was left open."""


def split(text: str, opened: bool = False) -> Parts:
    """Return the thought and the answer in `text`; `opened` says that the prompt had begun the thought."""
    if CLOSE in text:
        answer = text.rsplit(CLOSE, 1)[1].lstrip()
        return Parts(text[: len(text) - len(answer)], answer, finished=True)
    if opened or text.lstrip().startswith(OPEN):
        return Parts(text, "", finished=False)
    return Parts("", text, finished=True)


def leaves_open(prompt: str) -> bool:
    """Return whether `prompt` ends with an open thought, as the templates of DeepSeek-R1 and Qwen3-Thinking do."""
    return prompt.rstrip().endswith(OPEN)
