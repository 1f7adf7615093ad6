"""Regular expressions that come with a checkpoint: whether matching one may take for ever.

A repeat inside a repeat, `(a+)+`, has twice as many ways to match with each character, and a backtracking engine may
try all of them. A pattern is judged by its text alone, so that the result holds for Python's syntax and for
Oniguruma's.
"""

from __future__ import annotations

import re

LONGEST = 100_000
"""Number of characters in the longest pattern that is accepted."""
_REPEATS = 12
"""Largest number of repeats without an upper limit (`*`, `+`, `{2,}`) in one pattern."""
_LETTER_WITH_MARKS = re.compile(r"\(\?:\\p\{L\w?\}\\p\{M\w?\}\*\)")
"""A letter and its marks as a group, which can be matched in one way only, however often it is repeated."""
_TOKEN = re.compile(
    r"\\[pP]\{[^}]*\}|\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]|(?P<open>\((?:\?(?:[:=!>|]|<[=!]|P?<\w+>|[\w-]+[:)])?)?)"
    r"|(?P<close>\))|(?P<repeat>[*+]|\{\d*,\})[+?]?|(?P<many>\{\d+(?:,\d+)?\})[+?]?|.",
    re.DOTALL,
)


def may_hang(pattern: str) -> bool:
    """Return whether matching `pattern` may take time that grows faster than a small power of the text's length."""
    if len(pattern) > LONGEST:
        return True
    has_repeat = [False]  # of each open group, whether a repeat without an end is in it
    closed = False  # whether what precedes is a group with such a repeat
    total = 0
    for token in _TOKEN.finditer(_LETTER_WITH_MARKS.sub(r"\\p{L}", pattern)):
        if token["open"] and not token["open"].endswith(")"):
            has_repeat.append(False)
            closed = False
        elif token["close"]:
            closed = has_repeat.pop() if len(has_repeat) > 1 else False
            has_repeat[-1] |= closed
        elif token["repeat"] or token["many"]:
            count = 2 if token["repeat"] else int(re.findall(r"\d+", token["many"])[-1])
            if closed and count > 1:
                return True
            if token["repeat"] or count > 100:
                has_repeat[-1] = True
                total += 1
            closed = False
        else:
            closed = False
    return total > _REPEATS and "|" not in pattern
