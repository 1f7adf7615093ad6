"""Where a thought ends and the answer begins: the declared rule for models that think aloud.

A text is a thought from its `<think>`, or from its first character where the prompt left a thought open, to its last
`</think>`; the answer is what follows, without leading space, as in lm-eval (`postprocess_generated_text` in
lm_eval/models/utils.py, with `think_end_token="</think>"`). A thought that never ends has no answer: the empty text,
not something fished out of the middle of a thought, and it is counted. Text with neither mark is left as it is.

Not here: tokens, and what makes a model think (its chat template).
"""

from __future__ import annotations

from typing import NamedTuple

OPEN, CLOSE = "<think>", "</think>"


class Parts(NamedTuple):
    """A generated text in two: `thought + answer` is the text."""

    thought: str
    """With its marks and the space after it; empty where there was no thought."""
    answer: str
    finished: bool
    """No thought was left open."""


def split(text: str, opened: bool = False) -> Parts:
    """Return the thought and the answer in `text`; `opened` where its prompt had begun the thought."""
    if CLOSE in text:
        answer = text.rsplit(CLOSE, 1)[1].lstrip()
        return Parts(text[: len(text) - len(answer)], answer, finished=True)
    if opened or text.lstrip().startswith(OPEN):
        return Parts(text, "", finished=False)
    return Parts("", text, finished=True)


def leaves_open(prompt: str) -> bool:
    """Tell whether `prompt` ends in an opened thought, as the templates of DeepSeek-R1 and Qwen3-Thinking do."""
    return prompt.rstrip().endswith(OPEN)
