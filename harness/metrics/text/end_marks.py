"""The special tokens with which models end a text, and the marks of chat templates, in recorded answers.

Texts that the harness generates have none, because decoding drops special tokens. Published scores leave the marks in
the answers.

Not here: stop strings of a task (`harness.engine.decoding.stopping`).
"""

from __future__ import annotations

import re

END_MARK = re.compile(
    r"<eo[apdsmt]>|\[eo[apds]\]|</?s>|<\|[a-z_]{1,20}\|>|<｜[^｜\n]{1,20}｜>|<end_of_turn>", re.IGNORECASE
)

_ANYWHERE = re.compile(
    r"<\|[a-z][a-z0-9_]{1,40}\|>|<｜[^｜\n]{1,20}｜>|<eo[apdsmt]>|\[gMASK\]|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>",
    re.IGNORECASE,
)
"""Marks that no ordinary text has."""
_AT_AN_END = re.compile(r"(?:<s>|<sop>|<bos>)|assistant[ \t]*\n|.*(?:</s>|\[(?:eo|EO)[apdsAPDS]\]|<sop>)\Z", re.DOTALL)
"""Marks that only count where a text begins or ends: <s> is also a tag of HTML."""
_CHANNELS = re.compile(r"analysis[A-Z]|.*assistantfinal", re.DOTALL)
"""What is left of gpt-oss's channels if decoding has dropped its special tokens: analysisWe add.assistantfinal7"""


def has_chat_marks(text: str) -> bool:
    """Return whether `text` has marks of a chat template, or what is left of them: <|im_start|>assistant, </s>."""
    text = text.strip()
    return bool(_ANYWHERE.search(text) or _AT_AN_END.match(text) or _CHANNELS.match(text))


def without_end_marks(text: str) -> str:
    """Return `text` without the end marks and white space at its end: <eoa>, </s>, <|im_end|>, [EOS]."""
    ends = [(match.start(), match.end()) for match in END_MARK.finditer(text)]
    end = len(text)
    for start, stop in reversed([*ends, (end, end)]):
        if text[stop:end].strip():
            break
        end = start
    return text[:end].rstrip()
