"""The verdict on a choice, after its letter: right in "A: 正确", "A✓" and "A. yes", wrong in "B: 错误".

Words and marks for right (正确, 对, 是, true, yes, correct, ✓ …) and for wrong (错误, 不对, 否, false, no, ✗ …)
are verdicts if nothing else follows: "A. 正确的做法是报警" and "A. No man is an island" are texts of choices. A verdict
may also end the text of a choice: "A. 巴黎：正确", "A. Paris (correct)".

Texts come from `harness.metrics.answers.letter_sets`, which has made full-width forms narrow and replaced brackets and
Markdown by blanks.

Not here: finding the letters, and combining several verdicts (`harness.metrics.answers.letter_sets`).
"""

from __future__ import annotations

import re
from typing import NamedTuple

_TICKS, _CROSSES = "✓✔√☑✅⭕🗸👍", "✗✘×✕✖❌❎☒⨯👎"
SYMBOLS = _TICKS + _CROSSES
"""Marks that are a verdict by themselves."""
_RIGHT_ZH = (
    r"正确(?:无误|的?(?:答案|选项|说法|表述|观点)|的|)|对(?:的|了|)|是(?:的|)|没有?错误?|无误|符合(?:题意|)|成立|真"
)
_RIGHT_EN = r"true|yes|correct|right|valid"
_WRONG_ZH = r"(?:不|并不|不太)(?:正确|对|是|符合(?:题意)?|成立)的?|非|错误?(?:的|了|)|有误的?|否|假|误"
_WRONG_EN = r"(?:not |isn.t |aren.t )(?:correct|right|true|valid)|false|no|incorrect|wrong|untrue|invalid"
_ZH_END = rf"(?=\s|$|[,.;:!?。，；：！？、()|/&—–{SYMBOLS}-]|[A-Z](?:选?项)?[:对错正不是否]|因|由于|理由|原因)"
_EN_END = (
    rf"(?=[ \t]*(?:$|[\n,.;:!?。，；、()|/&—–{SYMBOLS}-])|[ \t]+(?:[A-Z](?![A-Za-z])|(?:because|since|as|and|but)\b))"
)
_VERDICT = (
    rf"(?:(?P<right>(?:{_RIGHT_ZH}){_ZH_END}|(?i:{_RIGHT_EN}|(?-i:[TY])){_EN_END}|[{_TICKS}])"
    rf"|(?P<wrong>(?:{_WRONG_ZH}){_ZH_END}|(?i:{_WRONG_EN}|(?-i:[FN])){_EN_END}|[{_CROSSES}]))"
)
_ITEM = r"[ \t)]{0,4}(?:[两三四]?个?选?项)?[ \t]{0,2}(?:的?(?:说法|表述|描述|内容))?[ \t]{0,2}"
_SUBJECT = (
    r"(?:(?:本|该|此|这)个?(?:选?项|说法|表述|观点|陈述|描述|做法)?(?:的?说法)?)?(?:说法|表述|描述)?"
    r"(?:判断|应|都|均|也|则|完全|显然|明显|当然|绝对)?(?:是|为)?[ \t]{0,2}"
    r"(?i:(?:(?:this|that|the|it|option|choice|statement|answer|s)[ \t]){0,3}(?:(?:is|are|was|were|seems)[ \t])?"
    r"(?:(?:also|both|all|clearly|definitely|absolutely|the|a)[ \t]){0,2})?"
)
_DIRECT = re.compile(rf"{_ITEM}(?:(?<=项)[,，]|[:.、|=(—–→>-]{{1,2}}|\n)?[ \t]{{0,4}}{_SUBJECT}{_VERDICT}")
_BEFORE_LAST = (
    rf"(?:(?:[:,，;。—–→=|\n-]|[ \t](?=[ \t]))[ \t]{{0,4}}{_SUBJECT}"
    rf"|[ \t](?=正确|错误|不正确|[{SYMBOLS}])|(?=[{SYMBOLS}]))"
)
_AT_END = re.compile(rf"{_BEFORE_LAST}{_VERDICT}[\s).。,，;；|]*$")
_BEFORE = re.compile(rf"([{SYMBOLS}])\ufe0f?[ \t(]{{0,3}}$")
_WINDOW = 32
"""The number of characters, after a letter or at the end of a choice's text, in which a verdict is looked for."""


class Verdict(NamedTuple):
    """Whether an answer calls a choice right or wrong."""

    is_right: bool
    length: int
    """The number of characters from the end of the letter to the end of the verdict."""


def verdict_behind(text: str) -> Verdict | None:
    """Return the verdict at the beginning of `text`, the text after a letter; None if there is no verdict."""
    match = _DIRECT.match(text[:_WINDOW])
    return Verdict(match["right"] is not None, match.end()) if match else None


def verdict_at_end(text: str) -> Verdict | None:
    """Return the verdict at the end of `text`, the text about one choice; None if there is no verdict."""
    start = max(0, len(text) - _WINDOW)
    match = _AT_END.search(text, start)
    return Verdict(match["right"] is not None, len(text)) if match else None


def verdict_before(text: str) -> Verdict | None:
    """Return the verdict of a mark at the end of `text`, the text before a letter ("✓ A"); None without a mark."""
    match = _BEFORE.search(text[-8:])
    return Verdict(match[1] in _TICKS, 0) if match else None
