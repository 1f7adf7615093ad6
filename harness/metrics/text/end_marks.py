"""The special tokens with which models end a text, where a recorded answer still has them.

A generated text has none: decoding drops special tokens. Published scores count them as they stand.

Not here: stop strings of a task (`harness.engine.decoding.stopping`).
"""

from __future__ import annotations

import re

END_MARK = re.compile(
    r"<eo[apdsmt]>|\[eo[apds]\]|</?s>|<\|[a-z_]{1,20}\|>|<｜[^｜\n]{1,20}｜>|<end_of_turn>", re.IGNORECASE
)


def without_end_marks(text: str) -> str:
    """Return `text` without the end marks and white space at its end: <eoa>, </s>, <|im_end|>, [EOS]."""
    ends = [(match.start(), match.end()) for match in END_MARK.finditer(text)]
    end = len(text)
    for start, stop in reversed([*ends, (end, end)]):
        if text[stop:end].strip():
            break
        end = start
    return text[:end].rstrip()
