"""The letters that an answer in words names, for questions that may have several right choices.

The first of these rules that finds letters decides:

1. The first line is nothing but letters: "AC", "A、C", "(A) and (C)", "选AC。", or several lines of one letter each.
2. The last stated answer: "答案：AC", "故选A、C", "The correct answers are A and C", `\\boxed{A, C}`. If the letter
   is followed by the text of its choice ("答案：A. 巴黎"), choices listed after it, each with its letter, count too.
3. Verdicts on single choices, "A: 正确", "B: 错误" or "A✓ B✗": the letters of those called right
   (`harness.metrics.answers.letter_verdicts`). The rule finds none if no choice is called right.
4. The answer begins with choices: lines "A. 巴黎", "C. 里昂".
5. Letters called right, "A和C正确": all such letters, and none that are called wrong.
6. Capital letters that stand alone, except those called wrong. There are none in "A股", "Vitamin C", "Apple", "A man".

Ranges, alternatives and letters that name no choice are not understood, and a correction takes back what precedes it
(`harness.metrics.answers.letter_doubts`). A list of all choices, each with its text, repeats the question and names
nothing. Only the letters of the question's choices count, in any width and even inside brackets or Markdown. One pass
finds all rows of letters such as "A、C"; a few characters around each row decide what it is, so the time is
proportional to the text's length.

Not here: published rules with their quirks (`harness.metrics.answers.choices`).
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from harness.metrics.answers.letter_doubts import is_doubtful, is_taken_back, last_correction
from harness.metrics.answers.letter_verdicts import SYMBOLS, Verdict, verdict_at_end, verdict_before, verdict_behind
from harness.metrics.text.lines import first_line, trimmed

_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}  # full-width forms of ASCII
_MARKS = dict.fromkeys(map(ord, "*_`$\\[]{}(【】「」『』“”\"'‘’<>《》〈〉"), " ")
_GAP = (
    r"(?:选?项(?=[、和与及或]))?[ \t)]{0,3}"
    r"(?:[,、;/&+|和与及跟]|以及|同时(?:还有)?|并且|还有|外加|加上?|and\b|plus\b|as well as\b|or\b|或)?[ \t]{0,3}"
    r"(?:also\b[ \t]{1,3})?(?:(?:and|or)\b[ \t]{1,3}|(?:还有|以及|或)[ \t]{0,3})?(?:also\b[ \t]{1,3})?"
)
_NAME = r"(?:(?:选项|[Oo]ptions?|[Cc]hoices?|[Ll]etters?|boxed(?:[ \t]+text)?)[ \t]{0,2})?"

# What stands directly before a stated answer.
_STATED = re.compile(
    r"(?:(?:(?<![不误])正确|(?<![不误])(?<!误的)(?<!确的)(?:答案|选项))"
    r"的?(?:答案|选项|说法|表述|描述|判断|观点|结论|一?项|有)?[ \t]*(?:应该?|就|分别|均|都|只|即|也)?[是为选有:=]"
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
_ENDED = re.compile(r"[ \t]*(?:$|[,.;:)。\n]|[-–—]+ ?(?=[A-Z](?![a-z]))|because|since|解析|理由|分析|因为|[两三四]项)")
_NOUN = r"[ \t)]{0,3}(?:[两三四]?个?选?项)?[ \t]?(?:的?(?:说法|表述|描述|内容))?(?:都|均|也|则|全部?)?(?:是|属于?)?"
_VERB = r"[ \t)]{1,3}(?:(?:options?|choices?|statements?) )?(?:is|are|was|were|seems?)(?: (?:all|both|also|the))?"
_RIGHT = re.compile(rf"{_NOUN}(?:正确|对(?!应|于|方|照)|符合|成立)|{_VERB} (?:correct|right|true)\b")
_WRONG = re.compile(rf"{_NOUN}(?:不|错|误|有误|非)|{_VERB}(?:n.t\b| (?:not|wrong|incorrect|false|untrue)\b)")
_LISTED = re.compile(r"[ \t]{0,2}[.:、)][ \t]*(?=[^\s,.;])")
_TEXT = re.compile(r"[^\W_]")
_CHOICES = re.compile(
    r"(?:^|[\n。.;；,，?？])[ \t]*(?:选项|options|choices)[ \t]?(?:are|有|是|为)?[ \t:]*$", re.IGNORECASE
)
_MARK_FIRST = re.compile(rf"[ \t-]{{0,4}}[{SYMBOLS}]\ufe0f?[ \t(]{{0,3}}")
_LINE_BREAK = re.compile(r"[ \t.)。,;、]*\n[ \t(.-]*")
_BOX_BELOW = re.compile(r"[ \t,;、]*\n[ \t]*boxed(?:[ \t]+text)?[ \t]*")
_LINE_END = re.compile(r"[ \t.)。,;、]*(?:\n|$)")
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
    verdict: Verdict | None = None
    """Whether the answer calls these letters right or wrong, directly beside them or after the text of the choice."""
    is_doubtful: bool = False
    """Whether the row is a range, an alternative, or joined with a letter that names no choice."""


def read(text: str, letters: Sequence[str]) -> frozenset[str] | None:
    """Return which of the capital `letters` the answer `text` names, or None if nothing was understood."""
    plain = trimmed(text.translate(_WIDE))
    bare, plain = _bare(plain, letters), plain.translate(_MARKS)
    rows = _with_verdicts(plain, _rows(plain, letters))
    rows = _without_repeated_choices(plain, rows, letters)
    corrected = _corrected(plain, rows)
    if corrected is not None:
        return corrected or None
    chosen = None if rows and rows[0].verdict else bare
    if chosen is None and (chosen := _stated(plain, rows)) is None:
        chosen = _concluding(plain, rows)
    if chosen is None and (chosen := _verdicts(rows)) is None:
        if len(letters) > 2:  # "B. 错误" may be the second choice of two
            rows = [row for row in rows if row.verdict is None]
        readers = (partial(_listed, plain), _called_right, _standing)
        chosen = next((result for reader in readers if (result := reader(rows)) is not None), None)
    return chosen or None


def is_denied(text: str, start: int, end: int) -> bool:
    """Return whether the letters between `start` and `end` of `text` are excepted or called wrong."""
    after = text[end : end + _WINDOW].translate(_WIDE).translate(_MARKS)
    before = text[max(0, start - _WINDOW) : start].translate(_MARKS)
    return _EXCEPTED.search(before) is not None or _is_wrong(after)


def _bare(plain: str, letters: Sequence[str]) -> frozenset[str] | None:
    """Return the letters of the first line and of one-letter lines after it; None if the first has anything else."""
    pattern = _bare_pattern("".join(letters))
    line = first_line(plain)[: 8 * _WINDOW]
    if (match := pattern.fullmatch(line)) is None:
        return None
    chosen = _distinct(match[1].upper(), letters)
    if is_doubtful(line.upper(), *match.span(1), letters):
        return frozenset()
    if chosen is None or len(chosen) > 1:
        return chosen
    for line in plain.splitlines()[1:]:
        further = pattern.fullmatch(line.strip()) if len(line) < _WINDOW else None
        single = _distinct(further[1].upper(), letters) if further else None
        if single is None or len(single) > 1:
            return frozenset() if _FOREIGN_LINE.fullmatch(line) else chosen
        chosen |= single
    return chosen


@functools.lru_cache(maxsize=64)
def _bare_pattern(letters: str) -> re.Pattern[str]:
    """Return the pattern of a line of nothing but `letters`; lower-case letters must be single or separated."""
    link, between = r"(?:and|和|与|以?及|还有|外加|加)", rf"(?:(?![{SYMBOLS}])[\W_])"
    capitals, small = f"[{letters}]", f"[{letters.lower()}]"
    cue = r"(?i:(?:the[ \t]|correct[ \t]|right[ \t]|final[ \t]|正确的?|最终)*(?:我?选择?|答案|选项|answers?|options?))"
    upper = rf"{capitals}++(?:{between}*+(?:{link}{between}*+)?{capitals}++)*+"
    lower = rf"{small}(?:{between}++(?:{link}{between}++)?{small})*+"
    ending = r"(?:[两三四]?个?选?项)?(?:</?\w+>)?"
    return re.compile(
        rf"{between}*+(?:{cue}{between}*+(?:(?:是|为|is\b|are\b){between}*+)?)?({upper}|{lower}){ending}{between}*+"
    )


def _distinct(row: str, letters: Sequence[str]) -> frozenset[str] | None:
    """Return the letters of a `row`; None if a letter repeats among letters without separators ("AAAA")."""
    pieces = re.findall(f"[{''.join(letters)}]+", _CAPITALISED.sub(" ", row))
    if any(len(set(piece)) < len(piece) for piece in pieces):
        return None
    return frozenset("".join(pieces)) or None


_FOREIGN_LINE = re.compile(r"\W*[A-Z]\W*")
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
        is_split = comma > 0 and _is_wrong(plain[match.end() : match.end() + _WINDOW])
        for start, end in ((0, comma), (comma + 1, len(match[0]))) if is_split else ((0, len(match[0])),):
            chosen = _distinct(match[0][start:end], letters)
            if chosen is not None:
                rows.append(_row(plain, chosen, (match.start() + start, match.start() + end), letters))
    return rows


def _row(plain: str, chosen: frozenset[str], bounds: tuple[int, int], letters: Sequence[str]) -> _Row:
    start, end = bounds
    before, after = plain[max(0, start - _WINDOW) : start], plain[end : end + _WINDOW]
    return _Row(chosen, start, end, before, after, is_doubtful=is_doubtful(plain, start, end, letters))


def _is_wrong(after: str) -> bool:
    """Return whether the text `after` some letters calls these letters wrong."""
    verdict = verdict_behind(after)
    return _WRONG.match(after) is not None or (verdict is not None and not verdict.is_right)


def _with_verdicts(plain: str, rows: Sequence[_Row]) -> list[_Row]:
    """Return the rows, each with the words right or wrong (对, 错误, ✗) that the answer puts beside its letters.

    If only one row ends in such a word, the word belongs to the text of the choice and does not count.
    """
    if not rows:
        return []
    if _MARK_FIRST.fullmatch(plain[: rows[0].start]):
        return [row._replace(verdict=verdict_before(row.before)) for row in rows]
    direct = [row._replace(verdict=verdict_behind(row.after)) for row in rows]
    ends = [*(row.start for row in rows[1:]), len(plain)]
    texts = (plain[row.end : end].partition("\n\n")[0] for row, end in zip(rows, ends, strict=True))
    all_verdicts = [
        row if row.verdict or len(row.letters) > 1 else row._replace(verdict=verdict_at_end(text))
        for row, text in zip(direct, texts, strict=True)
    ]
    verdicts = sum(row.verdict is not None for row in all_verdicts)
    if verdicts > 1:
        return all_verdicts
    return [row._replace(verdict=None) if _is_article(row) else row for row in direct]


def _without_repeated_choices(plain: str, rows: Sequence[_Row], letters: Sequence[str]) -> list[_Row]:
    """Return the rows of letters, without rows that repeat the question.

    Such rows list every choice, each with its text and no verdict. A second such list is left out even if the end of
    the answer cuts it short.
    """
    count, place, kept, is_repeated = len(letters), 0, list[_Row](), False
    while place < len(rows):
        run = rows[place : place + count]
        is_listed = _is_list(plain, run, rows[place - 1] if place else None, letters)
        if is_listed and (len(run) == count or is_repeated):
            place, is_repeated = place + len(run), True
        else:
            kept.append(rows[place])
            place += 1
    return kept


def _is_list(plain: str, run: Sequence[_Row], earlier: _Row | None, letters: Sequence[str]) -> bool:
    """Return whether the rows of `run` are the first choices in order, each with its text, and no stated answer."""
    if [_only(row) for row in run] != [*letters[: len(run)]] or any(row.verdict for row in run):
        return False
    line_end = plain.find("\n", run[-1].end)
    ends = [*(row.start for row in run[1:]), line_end if line_end >= 0 else len(plain)]
    if not all(_TEXT.search(plain, row.end, min(end, row.end + _WINDOW)) for row, end in zip(run, ends, strict=True)):
        return False
    return not _is_stated(run[0], earlier, run[1] if len(run) > 1 else None) or bool(_CHOICES.search(run[0].before))


def _only(row: _Row) -> str | None:
    """Return the letter of a row that has only one letter, otherwise None."""
    return next(iter(row.letters)) if len(row.letters) == 1 else None


def _stated(plain: str, rows: Sequence[_Row]) -> frozenset[str] | None:
    """Return the letters of the last stated answer ("答案：AC", "故选A、C"); None if no answer is stated."""
    for place in range(len(rows) - 1, -1, -1):
        later = rows[place + 1] if place + 1 < len(rows) else None
        if _is_stated(rows[place], rows[place - 1] if place else None, later):
            further = [*_further_choices(plain, rows[place:]), *_further_lines(plain, rows[place:])]
            first = place
            while first and _BOX_BELOW.fullmatch(plain[rows[first - 1].end : rows[first].start][:_WINDOW]):
                first -= 1
            return _understood([*rows[first : place + 1], *further])
    return None


def _understood(rows: Iterable[_Row]) -> frozenset[str] | None:
    """Return the letters of all `rows`; an empty set if any row is not understood, None if there are no rows."""
    rows = list(rows)
    if any(row.is_doubtful for row in rows):
        return frozenset()
    return frozenset().union(*(row.letters for row in rows)) or None


def _corrected(plain: str, rows: Sequence[_Row]) -> frozenset[str] | None:
    """Return the letters stated after a correction; an empty set if none are stated, None if nothing is corrected."""
    if not rows or sum(row.verdict is not None for row in rows) > 1:
        return None
    place = last_correction(plain)
    before = [row for row in rows if row.end <= place]
    after = [row for row in rows if row.start >= place and not _WRONG.match(row.after)]
    if not before or not after:
        return frozenset() if is_taken_back(plain) else None
    if (stated := _stated(plain, after)) is not None:
        return stated
    return frozenset() if frozenset().union(*(row.letters for row in after)) != before[-1].letters else None


def _is_stated(row: _Row, earlier: _Row | None, later: _Row | None) -> bool:
    """Return whether `row` is stated as the answer, and is not one of several rows in sequence that have verdicts."""
    match = _STATED.search(row.before) or _STATED_ABOVE.search(row.before)
    if not match or _DENIED.search(match[0]) or _is_article(row) or _WRONG.match(row.after):
        return False
    if (
        earlier
        and earlier.verdict
        and row.start - len(row.before) + match.start() < earlier.end + earlier.verdict.length
    ):
        return False  # "正确" before the letter is the verdict on the letter before
    return not (row.verdict and ((earlier and earlier.verdict) or (later and later.verdict)))


def _concluding(plain: str, rows: Sequence[_Row]) -> frozenset[str] | None:
    """Return the letters with which the answer begins as in "A and C, because …"; None if it does not."""
    if not _begins(plain, rows) or rows[0].verdict or _LISTED.match(rows[0].after):
        return None
    return _understood(rows[:1]) if _ENDED.match(rows[0].after) else None


def _listed(plain: str, rows: Sequence[_Row]) -> frozenset[str] | None:
    """Return the letters of the choices with which the answer begins, as in "A. 巴黎"; None if it does not."""
    if not _begins(plain, rows) or not _LISTED.match(rows[0].after):
        return None
    return _understood([rows[0], *_further_choices(plain, rows)])


def _begins(plain: str, rows: Sequence[_Row]) -> bool:
    """Return whether the answer begins with the first of `rows`."""
    return bool(rows) and rows[0].start <= _WINDOW and _LEADING.fullmatch(plain[: rows[0].start].strip()) is not None


def _verdicts(rows: Iterable[_Row]) -> frozenset[str] | None:
    """Return the letters called right; None if there are none. Of several verdicts on one letter, the last counts."""
    rows = [row for row in rows if row.verdict]
    if any(row.is_doubtful and row.verdict and row.verdict.is_right for row in rows):
        return frozenset()
    last = {letter: row.verdict.is_right for row in rows if row.verdict for letter in row.letters}
    return frozenset(letter for letter, is_right in last.items() if is_right) or None


def _further_choices(plain: str, rows: Sequence[_Row]) -> Iterator[_Row]:
    """Yield the listed choices that follow `rows[0]`, if that is a listed choice: "A. 巴黎；C. 里昂"."""
    for earlier, row in itertools.pairwise(rows):
        between = plain[earlier.end : row.start]
        are_listed = _LISTED.match(earlier.after) and _LISTED.match(row.after) and len(row.letters) == 1
        if not are_listed or not _NEXT.search(between[-8:]) or "\n\n" in between:
            return
        yield row


def _further_lines(plain: str, rows: Sequence[_Row]) -> Iterator[_Row]:
    """Yield the rows that follow `rows[0]` in lines of their own: "答案：", "A", "C"."""
    for earlier, row in itertools.pairwise(rows):
        if not _LINE_BREAK.fullmatch(plain[earlier.end : row.start][:_WINDOW]) or not _LINE_END.match(row.after):
            return
        yield row


def _called_right(rows: Iterable[_Row]) -> frozenset[str] | None:
    """Return the letters that are called right."""
    return _understood(row for row in rows if _RIGHT.match(row.after) and not _EXCEPTED.search(row.before))


def _standing(rows: Sequence[_Row]) -> frozenset[str] | None:
    """Return the capital letters that stand alone and are not called wrong; None if the answer excepts choices."""
    if any(_EXCEPTED.search(row.before) for row in rows):
        return None
    return _understood(row for row in rows if _stands_alone(row) and not _WRONG.match(row.after))


def _stands_alone(row: _Row) -> bool:
    """Return whether a row of letters is no part of a word, name or phrase such as "A股", "Vitamin C" and "A man"."""
    if not _BEFORE.search(row.before) or not _AFTER.match(row.after) or _is_article(row):
        return False
    before = _WORD_BEFORE.search(row.before)
    return (before is None or _OPENER.fullmatch(before[1]) is not None) and not _WORD_AFTER.match(row.after)


def _is_article(row: _Row) -> bool:
    """Return whether a row of letters is the word "A" or "I" before a word in lower case."""
    return len(row.letters) == 1 and row.letters <= {"A", "I"} and _ARTICLE.match(row.after) is not None
