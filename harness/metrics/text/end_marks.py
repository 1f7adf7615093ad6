"""The special tokens with which models end a text, and the marks of chat templates, in recorded answers.

Texts that the harness generates have no such tokens or marks, because decoding drops special tokens. Published scores
were computed with the marks left in the answers.

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
"""Pattern of marks that no ordinary text has; they count anywhere."""
_AT_AN_END = re.compile(r"(?:<s>|<sop>|<bos>)|assistant[ \t]*\n|.*(?:</s>|\[(?:eo|EO)[apdsAPDS]\]|<sop>)\Z", re.DOTALL)
"""Pattern of marks that count only where a text begins or ends: <s>, for example, is also a tag of HTML."""
_CHANNELS = re.compile(r"analysis[A-Z]|.*assistantfinal", re.DOTALL)
"""What is left of gpt-oss's channel marks after decoding dropped special tokens: analysisWe add.assistantfinal7"""


def has_chat_marks(text: str) -> bool:
    """Return whether `text` has marks of a chat template (<|im_start|>assistant, </s>), or remains of such marks."""
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
