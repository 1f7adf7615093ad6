"""The letters that an answer in words names, where a question may have several right choices.

The first of these rules that finds letters decides:

1. The first line is nothing but letters: "AC", "A、C", "(A) and (C)", "选AC。". Lines of one letter belong together.
2. The last stated answer: "答案：AC", "故选A、C", "The correct answers are A and C", `\\boxed{A, C}`. If the text of a
   choice follows ("答案：A. 巴黎"), so may further choices, each after its own letter.
3. The answer begins with choices: lines "A. 巴黎", "C. 里昂".
4. Letters called right, "A和C正确": all of them, without letters called wrong.
5. Capital letters that stand alone, except those called wrong. None in "A股", "Vitamin C", "Apple", "A man".

Letters are those of the question's choices, in any width and inside brackets or Markdown. One pass finds all rows of
letters; a few characters around each decide what it is, so the time is proportional to the text's length.

Not here: published rules with their quirks (`harness.metrics.answers.choices`).
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from harness.metrics.text.lines import first_line, trimmed

_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}  # full-width forms of ASCII
_MARKS = dict.fromkeys(map(ord, "*_`$\\[]{}(【】「」『』“”\"'‘’<>《》〈〉"), " ")
_GAP = (
    r"(?:选?项(?=[、和与及或]))?[ \t)]{0,3}(?:[,、;/&+|和与及跟]|and\b|plus\b|or\b|或)?[ \t]{0,3}"
    r"(?:(?:and|or)\b[ \t]{1,3})?"
)
_NAME = r"(?:(?:选项|[Oo]ptions?|[Cc]hoices?|[Ll]etters?)[ \t]{0,2})?"

# What stands directly before a stated answer.
_STATED = re.compile(
    r"(?:(?:(?<![不误])正确|(?<![不误])(?<!误的)(?<!确的)(?:答案|选项))的?(?:答案|选项|说法|一?项|有)?[ \t]*"
    r"(?:应该?|就|分别|均|都|只|即|也)?(?:是|为|选|有|:|=)"
    r"|(?<![不误])答案"
    r"|(?:^|[故应该我此以则可当上会,.。;:\n])[ \t]*(?:应该?)?(?:选择?|勾选)(?:项|答案|的是)?(?:是|为|:)?"
    r"|\b(?:answers?|options?|choices?|letters?)(?:[ \t]\w{1,12}){0,3}?[ \t]?(?:is|are|would be|should be|:|=)"
    r"|\b(?:choose|select|pick|go with|boxed(?:[ \t]+text)?))"
    r"[ \t:]{0,4}(?:(?:both|all|选项|options?|choices?|letters?|选|项)[ \t:]{0,4})?$",
    re.IGNORECASE,
)
_STATED_ABOVE = re.compile(
    r"(?:(?<![不误])(?:答案|正确的?(?:选项)?)(?:是|为|有)?|\b(?:answers?|(?:correct|right)[ \t](?:options?|choices?)))"
    r"(?:[ \t](?:is|are))?[ \t]*:?[ \t]*\n\s{0,4}$",
    re.IGNORECASE,
)
_DENIED = re.compile(r"incorrect|wrong|false|\bnot\b|n.t\b", re.IGNORECASE)
_LEADING = re.compile(r"(?:我?(?:应该?)?选择?|选项|options?|choices?)?[ \t:]*", re.IGNORECASE)
_ENDED = re.compile(r"[ \t]*(?:$|[,.;:)。\n]|because|since|解析|理由|分析|因为|[两三四]项)")
_NOUN = r"[ \t)]{0,3}(?:[两三四]?个?选?项)?[ \t]?(?:的?(?:说法|表述|描述|内容))?(?:都|均|也|则|全部?)?(?:是|属于?)?"
_VERB = r"[ \t)]{1,3}(?:(?:options?|choices?|statements?) )?(?:is|are|was|were|seems?)(?: (?:all|both|also|the))?"
_RIGHT = re.compile(rf"{_NOUN}(?:正确|对(?!应|于|方|照)|符合|成立)|{_VERB} (?:correct|right|true)\b")
_WRONG = re.compile(rf"{_NOUN}(?:不|错|误|有误|非)|{_VERB}(?:n.t\b| (?:not|wrong|incorrect|false|untrue)\b)")
_LISTED = re.compile(r"[ \t]{0,2}[.:、)][ \t]*(?=[^\s,.;])")
_NEXT = re.compile(r"(?:\n|[;；,，、。.]|\band|和)[ \t]*$")
# What may stand directly before or after letters that are no part of a word or a name.
_BEFORE = re.compile(r"(?:^|(?<![A-Za-z])\.|[\s,;:!?，。；：！？、/&+和与及或是为选项择案应故有即])$")
_AFTER = re.compile(r"(?:$|\.(?![A-Za-z])|[\s,;:!?)，。；：！？、/&+和与及或是为都均也项选的正对符吧呢啊两三四这那])")
_LINKS = (
    r"and|or|is|are|both|options?|choices?|answers?|letters?|because|since|as|but|while|for|seems?|would|should|also"
)
_OPENERS = r"the|be|only|either|think|believe|say|guess|thus|so|therefore|hence|with|to|probably|definitely|namely|than"
_WORD_AFTER = re.compile(rf"[ \t-](?!(?:{_LINKS})\b)[A-Za-z0-9]", re.IGNORECASE)
_WORD_BEFORE = re.compile(r"([A-Za-z0-9]+)[ \t-]$")
_OPENER = re.compile(rf"{_LINKS}|{_OPENERS}", re.IGNORECASE)
_ARTICLE = re.compile(rf"[ \t](?!(?:{_LINKS})\b)[a-z]")
_EXCEPTED = re.compile(
    r"(?:除了?|except(?: for)?|\bnot|\bnon|不选?|排除|没有|而非|不是|并非|不包括|rather than)[ \t]?$", re.IGNORECASE
)
_WINDOW = 48
"""The number of characters before and after a row of letters that decide what it is."""


class _Row(NamedTuple):
    """A row of letters, such as "A、C", and what is around it."""

    letters: frozenset[str]
    start: int
    end: int
    before: str
    after: str


def read(text: str, letters: Sequence[str]) -> frozenset[str] | None:
    """Return which of the capital `letters` the answer `text` names, or None if nothing was understood."""
    plain = trimmed(text.translate(_WIDE))
    bare = _bare(plain, letters)
    if bare:
        return bare
    plain = plain.translate(_MARKS)
    rows = _rows(plain, letters)
    chosen = _stated(plain, rows) or _leading(plain, rows) or _called_right(rows) or _standing(rows)
    return chosen or None


def exact_set(chosen: Collection[str], right: Collection[str]) -> float:
    """Return 1 if the chosen letters are exactly the right ones, else 0: the rule of JEC-QA and DISC-Law-Eval."""
    return float(set(chosen) == set(right))


def partial_credit(chosen: Collection[str], right: Collection[str]) -> float:
    """Return the share of the right letters that were chosen, 0 if any wrong letter was.

    So grade exams that give points for each right choice and none with a wrong one; JEC-QA, AGIEval and DISC-Law-Eval
    give no partial credit.
    """
    return len(set(chosen)) / len(set(right)) if set(chosen) <= set(right) else 0.0


def _bare(plain: str, letters: Sequence[str]) -> frozenset[str] | None:
    """Return the letters that the first line consists of, with following lines of one letter each; else None."""
    pattern = _bare_pattern("".join(letters))
    match = pattern.fullmatch(first_line(plain)[: 8 * _WINDOW])
    if match is None:
        return None
    chosen = _distinct(match[1].upper(), letters)
    if chosen is None or len(chosen) > 1:
        return chosen
    for line in plain.splitlines()[1:]:
        further = pattern.fullmatch(line.strip()) if len(line) < _WINDOW else None
        single = _distinct(further[1].upper(), letters) if further else None
        if single is None or len(single) > 1:
            break
        chosen |= single
    return chosen


@functools.lru_cache(maxsize=64)
def _bare_pattern(letters: str) -> re.Pattern[str]:
    """Return the pattern of a line of nothing but `letters`; lower-case ones must be single or separated."""
    link, between = r"(?:and|or|和|与|及|或)", r"[\s\W_]"
    capitals, small = f"[{letters}]", f"[{letters.lower()}]"
    cue = r"(?i:(?:the[ \t]|correct[ \t]|right[ \t]|final[ \t]|正确的?|最终)*(?:我?选择?|答案|选项|answers?|options?))"
    upper = rf"{capitals}++(?:{between}*+(?:{link}{between}*+)?{capitals}++)*+"
    lower = rf"{small}(?:{between}++(?:{link}{between}++)?{small})*+"
    ending = r"(?:[两三四]?个?选?项)?(?:</?\w+>)?"
    return re.compile(
        rf"{between}*+(?:{cue}{between}*+(?:(?:是|为|is\b|are\b){between}*+)?)?({upper}|{lower}){ending}{between}*+"
    )


def _distinct(row: str, letters: Sequence[str]) -> frozenset[str] | None:
    """Return the letters of a `row`; None if letters that follow one another directly repeat, as in "AAAA"."""
    pieces = re.findall(f"[{''.join(letters)}]+", _CAPITALISED.sub(" ", row))
    if any(len(set(piece)) < len(piece) for piece in pieces):
        return None
    return frozenset("".join(pieces)) or None


_CAPITALISED = re.compile(r"\b(?:Options?|Choices?|Letters?|AND|OR)\b")


@functools.lru_cache(maxsize=64)
def _row_pattern(letters: str) -> re.Pattern[str]:
    """Return the pattern of a row of `letters`: together, or separated by punctuation, blanks or "and"."""
    piece = rf"[{letters}]{{1,{len(letters)}}}+(?![A-Za-z0-9])"
    return re.compile(rf"(?<![A-Za-z0-9]){piece}(?:{_GAP}{_NAME}{piece})*+")


def _rows(plain: str, letters: Sequence[str]) -> list[_Row]:
    """Return all rows of letters in `plain`, from left to right."""
    rows = []
    for match in _row_pattern("".join(letters)).finditer(plain):
        comma = max(map(match[0].rfind, ",;"))
        # In "A、C，B错误" a row ends at the comma.
        is_split = comma > 0 and _WRONG.match(plain[match.end() : match.end() + _WINDOW])
        for start, end in ((0, comma), (comma + 1, len(match[0]))) if is_split else ((0, len(match[0])),):
            chosen = _distinct(match[0][start:end], letters)
            if chosen is not None:
                rows.append(_row(plain, chosen, match.start() + start, match.start() + end))
    return rows


def _row(plain: str, letters: frozenset[str], start: int, end: int) -> _Row:
    return _Row(letters, start, end, plain[max(0, start - _WINDOW) : start], plain[end : end + _WINDOW])


def _stated(plain: str, rows: Sequence[_Row]) -> frozenset[str] | None:
    """Return the letters of the last stated answer."""
    for place in range(len(rows) - 1, -1, -1):
        row = rows[place]
        match = _STATED.search(row.before) or _STATED_ABOVE.search(row.before)
        if match and not _DENIED.search(match[0]) and not _is_article(row) and not _WRONG.match(row.after):
            return row.letters | _further_choices(plain, rows[place:])
    return None


def _leading(plain: str, rows: Sequence[_Row]) -> frozenset[str] | None:
    """Return the letters of the choices with which the answer begins, "A. 巴黎", or of "A and C, because …"."""
    if not rows or rows[0].start > _WINDOW or not _LEADING.fullmatch(plain[: rows[0].start].strip()):
        return None
    if _LISTED.match(rows[0].after):
        return rows[0].letters | _further_choices(plain, rows)
    return rows[0].letters if _ENDED.match(rows[0].after) else None


def _further_choices(plain: str, rows: Sequence[_Row]) -> frozenset[str]:
    """Return the letters of the listed choices that follow `rows[0]`, if it is one: "A. 巴黎；C. 里昂"."""
    chosen: frozenset[str] = frozenset()
    for earlier, row in itertools.pairwise(rows):
        between = plain[earlier.end : row.start]
        are_listed = _LISTED.match(earlier.after) and _LISTED.match(row.after) and len(row.letters) == 1
        if not are_listed or not _NEXT.search(between[-8:]) or "\n\n" in between:
            break
        chosen |= row.letters
    return chosen


def _called_right(rows: Iterable[_Row]) -> frozenset[str] | None:
    """Return the letters that are called right."""
    right = (row for row in rows if _RIGHT.match(row.after) and not _EXCEPTED.search(row.before))
    return frozenset().union(*(row.letters for row in right)) or None


def _standing(rows: Sequence[_Row]) -> frozenset[str] | None:
    """Return the capital letters that stand alone, unless they are called wrong; None if choices are excepted."""
    if any(_EXCEPTED.search(row.before) for row in rows):
        return None
    standing = (row for row in rows if _stands_alone(row) and not _WRONG.match(row.after))
    return frozenset().union(*(row.letters for row in standing)) or None


def _stands_alone(row: _Row) -> bool:
    """Return whether a row is part of no word or name: not "A股", "Vitamin C", "A man"."""
    if not _BEFORE.search(row.before) or not _AFTER.match(row.after) or _is_article(row):
        return False
    before = _WORD_BEFORE.search(row.before)
    return (before is None or _OPENER.fullmatch(before[1]) is not None) and not _WORD_AFTER.match(row.after)


def _is_article(row: _Row) -> bool:
    """Return whether a row is the word "A" or "I" before a word in lower case."""
    return len(row.letters) == 1 and row.letters <= {"A", "I"} and _ARTICLE.match(row.after) is not None
