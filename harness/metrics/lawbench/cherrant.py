"""ChERRANT: the edits that make one Chinese sentence of another, character by character, and how many are right.

As HillZhang1999/MuCGEC@22e16ec, scorers/ChERRANT, does it with `-g char` (Zhang et al. 2022, arXiv 2204.10994).
Characters are aligned at the least cost: an insertion or deletion costs 1, a substitution less than both and the less
the more alike the characters are, a transposition of n characters n - 1. What is not matched between two matches is one
edit, and what moved is one.

Upstream's quirks stay in: all alignments of the least cost count, so that an edit counts once for every distinct list
of edits that has it, as a hit as often as the reference's lists have it; where lengths differ by more than ten, the
first alignment alone counts.

How alike two characters are upstream looks up in a thesaurus (Cilin), in a table of characters that are mistaken for
each other, and in pypinyin's readings. None is part of this module: `Likeness` takes what there is.

Not here: edits of words, types of edits, several references, traditional characters made simplified ones.
"""

from __future__ import annotations

import functools
import string
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

MOST_LISTS = 5_000
"""Lists of edits of one sentence that are told apart; of more, which upstream would not end with, the first counts."""
_FIRST_ONLY = 10
_DELETED = "-NONE-"
_IMPOSSIBLE = "无法标注"
_PUNCTUATION = (
    string.punctuation
    + "！？｡＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》"
    + "「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟–—‘'‛“”„‟…‧."
)
"""What is not read as having moved."""
_MARKS = frozenset(_PUNCTUATION.removesuffix(".") + "〰〾〿﹏")
"""What is dear to substitute for other characters."""


class Edit(NamedTuple):
    """Characters `start` to `end` of the source, and what stands there in the target ("-NONE-" for nothing)."""

    start: int
    end: int
    text: str


class Likeness(NamedTuple):
    """What is known of characters; by default nothing."""

    classes: Callable[[str], str | None] = lambda character: None
    """A character's code in the thesaurus, such as Aa01A01."""
    alike: Callable[[str, str], bool] = lambda one, other: False
    """Whether two Chinese characters sound or look alike."""


UNKNOWN = Likeness()


class Counts(NamedTuple):
    """Edits of the prediction that are the reference's, that are not, and of the reference that were not made."""

    hits: int
    surplus: int
    missed: int

    def pair(self, beta: float = 0.5) -> tuple[float, float]:
        """Return numerator and denominator of F-beta; the sums over sentences are those of the corpus."""
        weight = beta * beta
        return (1 + weight) * self.hits, (1 + weight) * self.hits + weight * self.missed + self.surplus


def counts(source: str, prediction: str, reference: str, likeness: Likeness = UNKNOWN) -> Counts:
    """Return how many edits from `source` to `prediction` are among those from `source` to `reference`."""
    if reference == _IMPOSSIBLE:
        return Counts(0, 0, 0)
    made, wanted = edits(source, prediction, likeness), _of_reference(source, reference, likeness)
    return Counts(
        sum(count for edit, count in wanted.items() if edit in made),
        sum(count for edit, count in made.items() if edit not in wanted),
        sum(count for edit, count in wanted.items() if edit not in made),
    )


def edits(source: str, target: str, likeness: Likeness = UNKNOWN) -> Counter[Edit]:
    """Return the edits from `source` to `target`, and in how many of their lists each is.

    White space is passed over. Takes time as the product of both lengths, a second for 500 characters each.

    None where the texts are equal, or the target says that there is no error (没有错误);
    one of nothing at -1 where it says that the source cannot be corrected (无法标注).
    """
    source, target = "".join(source.split()), "".join(target.split())
    if target in (source, "没有错误"):
        return Counter()
    if target == _IMPOSSIBLE:
        return Counter([Edit(-1, -1, _DELETED)])
    first_only = abs(len(source) - len(target)) > _FIRST_ONLY
    # An alignment ends with all that matches at the end, whatever comes before.
    same = next((k for k, (a, b) in enumerate(zip(reversed(source), reversed(target), strict=False)) if a != b), None)
    same = min(len(source), len(target)) if same is None else same
    source, target = source[: len(source) - same], target[: len(target) - same]
    operations = _operations(source, target, likeness)
    if first_only:
        operations = _first(operations)
    if _number(operations) > MOST_LISTS:
        operations = _first(operations)
    lists = {_edits(spans, source, target) for spans in _alignments(operations)}
    return Counter(
        Edit(one.start, one.end, target[one.to_start : one.to_end] or _DELETED) for made in lists for one in made
    )


@functools.lru_cache(maxsize=1024)  # asked for again with every checkpoint's answers
def _of_reference(source: str, reference: str, likeness: Likeness) -> Counter[Edit]:
    return edits(source, reference, likeness)


class _Span(NamedTuple):
    """A piece of the source aligned with a piece of the target: Matched, Transposed, Deleted, Inserted, Substituted."""

    kind: str
    start: int
    end: int
    to_start: int
    to_end: int


_Operation = tuple[str, int, int]
"""Kind, and by how many characters source and target go on."""
_MATCH, _DELETE, _INSERT, _SUBSTITUTE = ("M", 1, 1), ("D", 1, 0), ("I", 0, 1), ("S", 1, 1)


def _operations(source: str, target: str, likeness: Likeness) -> list[list[list[_Operation]]]:
    """Return the operations by which the cheapest alignments of every two beginnings may end, by their lengths."""
    width = len(target)
    costs = [[float(j) for j in range(width + 1)]]
    made: list[list[list[_Operation]]] = [[[], *([_INSERT] for _ in target)]]
    unmatched = [0] * (width + 1)  # how far back from here, on the diagonal, costs go on changing
    latest: dict[str, int] = {}  # where a character stands last in the source so far
    known: dict[str, dict[str, float]] = {}
    for i, one in enumerate(source):
        above, row, ends, run = costs[i], [i + 1.0], [[_DELETE]], [0]
        substitutions, last = known.setdefault(one, {}), -1 - len(source)
        for j, other in enumerate(target):
            before = above[j]
            if one == other:
                row.append(before)
                ends.append([_MATCH])
                run.append(0)
                last = j
                continue
            cost = substitutions.get(other)
            if cost is None:
                cost = substitutions[other] = _substitution(one, other, likeness)
            substituted, inserted, deleted = before + cost, row[j] + 1, above[j + 1] + 1
            least, ways = min(substituted, inserted, deleted), []
            # What moved holds each of the two characters in the other text, too.
            if (reach := unmatched[j]) >= j - last and reach >= (from_ := i - latest.get(other, -1 - width)):
                moved = _transposed(source, target, i, j, max(from_, j - last), min(reach, i, j))
                transposed = costs[i - moved][j - moved] + moved
                if moved and transposed <= least:
                    least = transposed
                    ways.append(("T", moved + 1, moved + 1))
            if substituted == least:
                ways.append(_SUBSTITUTE)
            if inserted == least:
                ways.append(_INSERT)
            if deleted == least:
                ways.append(_DELETE)
            row.append(least)
            ends.append(ways)
            run.append(reach + 1 if least != before else 0)
        latest[one] = i
        costs.append(row)
        made.append(ends)
        unmatched = run
    return made


def _first(operations: list[list[list[_Operation]]]) -> list[list[list[_Operation]]]:
    return [[here[:1] for here in row] for row in operations]


def _transposed(source: str, target: str, i: int, j: int, least: int, most: int) -> int:
    """Return over how many characters before these two, `least` to `most`, the texts differ in order only, or 0."""
    surplus = Counter(source[i - least : i + 1])
    surplus.subtract(target[j - least : j + 1])
    unlike = sum(count != 0 for count in surplus.values())
    for back in range(least, most + 1):
        if not unlike:
            return back
        if back < most:
            for character, step in ((source[i - back - 1], 1), (target[j - back - 1], -1)):
                before = surplus[character]
                surplus[character] = before + step
                unlike += (before == 0) - (before + step == 0)
    return 0


def _substitution(one: str, other: str, likeness: Likeness) -> float:
    first, second = likeness.classes(one), likeness.classes(other)
    if first is None or second is None:
        meaning = 4
    else:
        levels = zip((first[0], first[1], first[2:4]), (second[0], second[1], second[2:4]), strict=True)
        meaning = 2 * sum(a != b for a, b in levels)
    marks = (one in _MARKS) + (other in _MARKS)
    looks = 0.0 if _is_chinese(one) and _is_chinese(other) and likeness.alike(one, other) else 0.5
    # In upstream's order: whether two alignments cost the same is a question of the last bit.
    return meaning / 6.0 + looks + (0.25, 0.499, 0.0)[marks]


def _is_chinese(character: str) -> bool:
    return "\u4e00" <= character <= "\u9fff"


def _alignments(operations: list[list[list[_Operation]]]) -> Iterator[tuple[_Span, ...]]:
    """Yield the cheapest alignments, each once."""
    waiting: list[tuple[_Span, tuple[_Span, ...]]] = [(span, ()) for span in _last(operations, None)]
    while waiting:
        span, behind = waiting.pop()
        spans = (span, *behind)
        if span.start or span.to_start:
            waiting += [(before, spans) for before in _last(operations, span)]
        else:
            yield spans


def _number(operations: list[list[list[_Operation]]]) -> int:
    """Return how many alignments there are."""
    ways: Counter[_Span] = Counter(_last(operations, None))
    total = 0
    for end in range(len(operations) + len(operations[0]) - 2, 0, -1):
        for span in [one for one in ways if one.end + one.to_end == end]:
            number = ways.pop(span)
            if span.start or span.to_start:
                ways.update(dict.fromkeys(_last(operations, span), number))
            else:
                total += number
    return total


def _last(operations: list[list[list[_Operation]]], behind: _Span | None) -> list[_Span]:
    """Return the spans that may stand before `behind`, or at the end: matches, or what is unmatched, all in one."""
    i, j = (behind.start, behind.to_start) if behind else (len(operations) - 1, len(operations[0]) - 1)
    here = operations[i][j]
    if here == [_MATCH]:
        k = 1
        while operations[i - k][j - k] == [_MATCH]:
            k += 1
        return [_Span("M", i - k, i, j - k, j)]
    found = [_Span(f"T{size}", i - size, i, j - size, j) for kind, size, _ in here if kind == "T"]
    if behind is None or behind.kind[0] in "MT":
        for a, b in _starts(operations, i, j):
            found.append(_Span("D" if b == j else "I" if a == i else "S", a, i, b, j))
    return found


def _starts(operations: list[list[list[_Operation]]], i: int, j: int) -> list[tuple[int, int]]:
    """Return where what ends at (i, j) without a match or a transposition may have begun."""
    found, seen, waiting = [], {(i, j)}, [(i, j)]
    while waiting:
        a, b = waiting.pop()
        here = operations[a][b]
        if (a, b) != (i, j) and (not here or any(one[0] in "MT" for one in here)):
            found.append((a, b))
        for _, down, across in (one for one in here if one[0] not in "MT"):
            if (a - down, b - across) not in seen:
                seen.add((a - down, b - across))
                waiting.append((a - down, b - across))
    return found


def _edits(spans: Sequence[_Span], source: str, target: str) -> tuple[_Span, ...]:
    """Return the edits of an alignment: what moved over a match is one, a substitution ends where the texts differ."""
    found, i = [], 0
    while i < len(spans):
        three = spans[i : i + 3]
        if len(three) == 3 and _moved(three, source, target):
            size = three[2].end - three[0].start
            found.append(_Span(f"T{size}", three[0].start, three[2].end, three[0].to_start, three[2].to_end))
            i += 3
            continue
        if spans[i].kind != "M":
            found.append(spans[i])
        i += 1
    changed = (one for one in found if source[one.start : one.end] != target[one.to_start : one.to_end])
    return tuple(_trimmed(one, source, target) if one.kind == "S" else one for one in changed)


def _moved(spans: Sequence[_Span], source: str, target: str) -> bool:
    """Tell whether what stood before the middle one of three spans stands behind it, or the other way round."""
    first, middle, last = spans
    kinds = first.kind + middle.kind[0] + last.kind
    if kinds == "SMS":
        was, now = ((source[x.start : x.end], target[y.to_start : y.to_end]) for x, y in ((first, last), (last, first)))
        if min(map(len, (*was, *now))) == 1:
            return was[0] == was[1] and now[0] == now[1]
        return _within_one(*was) and _within_one(*now)
    if kinds in ("DMI", "DTI"):
        gone, come = source[first.start : first.end], target[last.to_start : last.to_end]
    elif kinds in ("IMD", "ITD"):
        gone, come = source[last.start : last.end], target[first.to_start : first.to_end]
    else:
        return False
    if abs(len(gone) - len(come)) > 1 or gone in _PUNCTUATION or come in _PUNCTUATION:
        return False
    if min(len(gone), len(come)) == 1:
        return gone == come
    return _within_one(gone, come) or (len(gone) == len(come) and come in gone + gone)


def _within_one(one: str, other: str) -> bool:
    """Tell whether one insertion, deletion or substitution at most makes one text the other."""
    if len(one) > len(other):
        one, other = other, one
    same = next((k for k, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    if len(one) == len(other):
        return one[same + 1 :] == other[same + 1 :]
    return len(other) - len(one) == 1 and one[same:] == other[same + 1 :]


def _trimmed(span: _Span, source: str, target: str) -> _Span:
    """Return a substitution without what is the same at its beginning and its end."""
    was, now = source[span.start : span.end], target[span.to_start : span.to_end]
    head = next((k for k, (a, b) in enumerate(zip(was, now, strict=False)) if a != b), min(len(was), len(now)))
    rest = was[head:]
    pairs = zip(reversed(rest), reversed(now), strict=False)
    tail = next((k for k, (a, b) in enumerate(pairs) if a != b), min(len(rest), len(now)))
    if tail > len(now) - head:  # upstream looks for it in all of the target's piece, and keeps it where it overlaps
        tail = 0
    start, end = span.start + head, span.end - tail
    to_start, to_end = span.to_start + head, span.to_end - tail
    return _Span("I" if start == end else "D" if to_start == to_end else "S", start, end, to_start, to_end)
