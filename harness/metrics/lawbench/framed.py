"""The part of an answer that stands where LawBench's prompts ask for it: between a mark such as [正确答案] and <eoa>.

Models write the mark in other brackets, with a colon or without brackets, and end at their own end mark, at a line end
or not at all. What they write before the mark and after the end mark is not their answer.

Not here: what the part says (`repaired`), and published scores, which read the whole answer.
"""

from __future__ import annotations

import functools
import re

from harness.metrics.text.end_marks import END_MARK

_BEFORE, _AFTER = r"[\[【<（(]?", r"[\]】>）)]?(?:[:：]|是(?!否)|为)?\s*"


def parts(text: str, *marks: str) -> list[str]:
    """Return what `text` has after each of `marks`, such as 正确答案, up to an end mark, a line end or the next mark.

    If `text` has no mark, return the text up to its first end mark if that is one line, else nothing.
    """
    starts = list(_pattern(marks).finditer(text))
    if not starts:
        head = END_MARK.split(text.strip(), maxsplit=1)[0].strip()
        return [head] if head and "\n" not in head else []
    ends = [*(match.start() for match in starts[1:]), len(text)]
    lines = (text[match.end() : end].partition("\n")[0] for match, end in zip(starts, ends, strict=True))
    listed = (END_MARK.split(line, maxsplit=1)[0].strip() for line in lines)
    return [part for part in listed if part]


@functools.cache
def _pattern(marks: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(f"{_BEFORE}(?:{'|'.join(map(re.escape, marks))}){_AFTER}")
