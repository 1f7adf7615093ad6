"""What makes letters no answer: ranges, alternatives, letters that are no choice, and corrections.

"A-D", "A到D" (which choices a range has is a guess), "A或C", "either A or C" (no decision), "A、C、E" where E is no
choice: letters in such a row are not understood. A correction ("不对", "Wait,", "Actually") with other letters behind
it takes back what precedes it.

Texts are those of `harness.metrics.answers.letter_sets`: full-width forms are narrow, brackets and Markdown are blanks.

Not here: finding the letters, and combining them (`harness.metrics.answers.letter_sets`).
"""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Sequence

_WINDOW = 48
_SPACE = r"[ \t()\[\]{}【】*]{0,4}"
_RANGE = r"(?:<?[-–—~〜−‐‑]{1,2}>?|[<>=→]{1,3}|\.{2,3}|…|到|至|(?:up )?to\b|through\b|thru\b)"
_HEDGE = (
    r"(?:(?:else|alternatively|或许|maybe|perhaps|possibly|probably|even|option|choice"
    r"|boxed|its|it.s|可能|也许|大概|选项?|是)[ \t(]{0,3}){0,3}"
)
_OR = (
    rf"(?:(?:或许?者?|抑或|还是|\bor\b)[ \t(]{{0,3}}{_HEDGE}|[,，、 ][ \t(]{{0,3}}(?:also[ \t]|and[ \t]|也)?"
    r"(?:alternatively,?|maybe|perhaps|possibly|probably|可能|也许|大概)[ \t(]{0,3}(?:是|选)?)"
)
_LINK = r"(?:[,、;/&+|和与及跟或]|以及|还有|and\b|or\b)[ \t(]{0,3}(?:(?:and|or|还有|以及)\b[ \t]*)?"
_CORRECTION = re.compile(
    r"更正|改为|改选|应改"
    r"|(?:^|[。.!?;,，！？；\n…—–])[ \t]*(?:(?:哦|噢|嗯|但是?|不过|oh|but|hmm+|no|well)[ \t,，]*)?"
    r"(?:(?:不对|不是|不|错了|我错了|说错了|等等|等一下|等下|且慢|慢着|纠正|修正|抱歉|对不起)"
    r"[ \t]*(?:一下)?[ \t]*[,，。.:!！…—\n]"
    r"|其实|实际|(?:经过?)?(?:再|重新|仔细)(?:次|想|检|思|考|看|核|审|分析)"
    r"|(?:wait|hold on|no|wrong|correction|sorry|oops|my mistake|my bad|scratch that|on second thoughts?|edit)\b"
    r"[ \t]*[,，.:!…—–-]"
    r"|(?:actually|wait|i meant?|rather|(?:up)?on (?:further )?reflection"
    r"|that.{1,4}(?:wrong|not right|incorrect|not correct)|i made (?:a|an) (?:mistake|error)"
    r"|let me (?:correct|re|think|check again)\w*"
    r"|i (?:was wrong|take that back))\b)",
    re.IGNORECASE,
)
_TAKEN_BACK = re.compile(
    r"(?:[。.!?;,，\n…])[ \t]*(?:不对|错了|我错了|说错了|不是|wrong|(?:no,? )?that.?s (?:wrong|not right|incorrect))"
    r"[ \t]*[。.!…]*\s*$",
    re.IGNORECASE,
)


def is_doubtful(plain: str, start: int, end: int, letters: Sequence[str]) -> bool:
    """Return whether the row of `letters` between `start` and `end` of `plain` is not understood."""
    after, before = plain[end : end + _WINDOW], plain[max(0, start - _WINDOW) : start]
    inside, behind, ahead = _patterns("".join(letters))
    return bool(inside.search(plain, start, end) or behind.match(after) or ahead.search(before))


def last_correction(plain: str) -> int:
    """Return the end of the last correction in `plain`, or -1 if there is none."""
    return max((match.end() for match in _CORRECTION.finditer(plain)), default=-1)


def is_taken_back(plain: str) -> bool:
    """Return whether `plain` ends with the words that what precedes them is wrong."""
    return _TAKEN_BACK.search(plain[-_WINDOW:]) is not None


@functools.lru_cache(maxsize=64)
def _patterns(letters: str) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Return the patterns of doubts inside a row of `letters`, behind it and before it."""
    others = "".join(sorted(set(string.ascii_uppercase) - {*letters}))
    foreign = rf"(?!I[ \t'’])[{others}](?![A-Za-z0-9])" if others else r"(?!)"
    letter = rf"(?:option[ \t]|选项)?[{letters}](?![A-Za-z0-9])"
    inside = re.compile(rf"[{letters} \t](?:或|还是|or\b)|[{letters}]{_SPACE}{_RANGE}{_SPACE}[{letters}]")
    behind = re.compile(
        rf"[ \t)]{{0,3}}(?:选?项)?[ \t]{{0,2}}(?:{_RANGE}[ \t(]{{0,3}}{letter}|[,，]?[ \t]{{0,2}}{_OR}{letter}"
        r"|、[ \t(]{0,2}[a-z](?![A-Za-z0-9])"
        rf"|[ \t]*[.:、)][^\n;；]{{0,36}}[\n;；][ \t(-]*{foreign}[ \t]*[.:、)]"
        rf"|{_LINK}{foreign}|[ \t]{{1,3}}{foreign}(?=[ \t)]*(?:$|[\n.。,]))"
        rf"|[ \t.)、,;]*\n[ \t(]*{foreign}[ \t.)。]*(?:\n|$))"
    )
    ahead = re.compile(
        rf"(?:(?<![A-Za-z0-9])[{letters}][ \t)]{{0,3}}{_RANGE}[ \t(]{{0,3}}|{_OR}"
        rf"|(?<![A-Za-z0-9]){foreign}[ \t)]{{0,3}}{_LINK})$"
    )
    return inside, behind, ahead
