"""Letters not to be taken for an answer: ranges, alternatives, letters that name no choice, and corrected answers.

Rows of letters such as these are not understood: "A-D" or "A到D" (which choices the range includes is a guess), "A或C"
or "either A or C" (no decision), "A、C、E" if no choice is called E. A correction ("不对", "Wait,", "Actually") takes
back what precedes it if a new answer follows, either a bare letter or a letter with words of choosing (应该是B, it's
B); a sentence about a choice (其实B也有道理) is not a new answer.

Texts come from `harness.metrics.answers.letter_sets`, which has made full-width forms narrow and replaced brackets and
Markdown by blanks.

Not here: finding the letters, and combining them (`harness.metrics.answers.letter_sets`).
"""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Sequence

_WINDOW = 48
_SPACE = r"[ \t()\[\]{}【】*]{0,4}"
_RANGE = r"(?:<?(?:(?<![ \t])[-–−‐‑]|[~〜]){1,2}>?|[<>=→]{1,3}|\.{2,3}|…|到|至|(?:up )?to\b|through\b|thru\b)"
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
_SELECTED = re.compile(
    r"(?:[\s,，。.:;；!…—–-]|不是[A-Z]项?[,，]?而|(?-i:not [A-Z],? but)\b"
    r"|更正|纠正|修正|抱歉|对不起|不对|错了?|说|等等|[再重]新?|仔?细|[想思检考看核审验算虑查析]|分析|一[下想次]|后|来"
    r"|我们?|认为|觉得|发现|故|所以|因此|应|当|该|才|就|正确|的|答案|选项|选择?|改|更|换|为|是|还"
    r"|(?:actually|wait|no|sorry|reconsider|recheck|think(?:ing)?|check(?:ing)?|again|more|carefully|correct(?:ion)?|myself"
    r"|i|so|then|it|this|that|should|must|would|have|been|be|is|was|s|ll|d|m|the|right|best|answers?|options?|choices?"
    r"|choose|chose|select|pick|go(?:ing)?|with|meant?|me|let|about|made|a|an|mistake|error|wrong|not|incorrect|change"
    r"|changing|my|to|rather|oops|final|edit|about|in|fact|of|course)(?![A-Za-z])){0,16}?"
    r"(?P<choice>(?:选|是|为|案|项|\b(?:is|be|was|s|choose|select|pick|with|meant?|answers?|to)\b|:)[ \t(]*)?"
    r"(?-i:[A-Z](?:[ \t]?(?:[,、&和与及]|and\b)?[ \t]?[A-Z])*)(?![A-Za-z0-9])(?:[两三四]?个?选?项)?[ \t)]*"
    r"(?:$|[\n.。!！]|[,，;；]?[ \t]*(?:because|since|as|因为|由于|not|而|instead|才|吧|了|更)"
    r"|(?(choice)[,，;；]|(?!))"
    r"|(?:is|seems|looks)[ \t]+(?:the[ \t]+)?(?:correct|right|better|best)"
    r"(?:[ \t]+(?:answer|option|choice|one))?[ \t]*[.!\n,]"
    r"|(?:才是)?(?:正确|对)的?(?:[。，!]|$))",
    re.IGNORECASE,
)
"""Pattern of a new answer after the words of a correction: one letter after only words of choosing."""
_RANGE_END = re.compile(r"(?:选?项)?[ \t)]*(?:$|[\n.,;:。，；]|(?:are|were|all|both|inclusive)\b|均|都|全)")
"""What must follow letters joined by an em dash or a spaced dash to make them a range: "C - D is wrong" is no range."""
_TAKEN_BACK = re.compile(
    r"(?:[。.!?;,，\n…])[ \t]*(?:不对|错了|我错了|说错了|不是|wrong|(?:no,? )?that.?s (?:wrong|not right|incorrect))"
    r"[ \t]*[。.!…]*\s*$",
    re.IGNORECASE,
)


def is_doubtful(plain: str, start: int, end: int, letters: Sequence[str]) -> bool:
    """Return whether the row of letters between `start` and `end` of `plain` is not understood.

    `letters` are the letters of all choices.
    """
    after, before = plain[end : end + _WINDOW], plain[max(0, start - _WINDOW) : start]
    inside, behind, ahead, dash_behind, dash_ahead = _patterns("".join(letters))
    if (match := dash_behind.match(after)) and _RANGE_END.match(after, match.end()):
        return True
    if dash_ahead.search(before) and _RANGE_END.match(after):
        return True
    return bool(inside.search(plain, start, end) or behind.match(after) or ahead.search(before))


def last_correction(plain: str) -> int:
    """Return the end, in `plain`, of the words of the last correction that a new answer follows; -1 without one."""
    ends = (match.end() for match in _CORRECTION.finditer(plain))
    return max((end for end in ends if _SELECTED.match(plain, end, end + 2 * _WINDOW)), default=-1)


def is_taken_back(plain: str) -> bool:
    """Return whether `plain` ends with words that call wrong what precedes them."""
    return _TAKEN_BACK.search(plain[-_WINDOW:]) is not None


@functools.lru_cache(maxsize=64)
def _patterns(letters: str) -> tuple[re.Pattern[str], ...]:
    """Return five patterns: doubts inside, after and before a row of `letters`, and dashes after and before it."""
    others = "".join(sorted(set(string.ascii_uppercase) - {*letters}))
    foreign = rf"(?!I[ \t'’])[{others}](?![A-Za-z0-9])" if others else r"(?!)"
    letter = rf"(?:option[ \t]|选项)?[{letters}](?![A-Za-z0-9])"
    inside = re.compile(
        rf"[{letters} \t](?:或|还是|or\b)|[{letters}]{_SPACE}(?:{_RANGE}|[-–—−‐‑]{{1,2}}){_SPACE}[{letters}]"
    )
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
    dash = r"(?:[ \t]{1,3}[-–−‐‑]{1,2}[ \t]{1,3}|[ \t]{0,3}—{1,2}[ \t]{0,3})"  # C - D, but not C - D is wrong
    dash_behind = re.compile(rf"(?:选?项)?{dash}{letter}")
    dash_ahead = re.compile(rf"(?<![A-Za-z0-9])[{letters}](?:选?项)?{dash}(?:option[ \t]|选项)?$")
    return inside, behind, ahead, dash_behind, dash_ahead
