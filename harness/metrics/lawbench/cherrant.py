"""ChERRANT, a scorer of grammar corrections: the character edits between two Chinese sentences, and which are correct.

Follows HillZhang1999/MuCGEC@22e16ec, scorers/ChERRANT, with `-g char` (Zhang et al. 2022, arXiv 2204.10994). Characters
are aligned at the least cost. An insertion or a deletion costs 1, and a transposition of n characters n - 1; a
substitution costs less than an insertion and a deletion together, and the less the more alike the characters are. The
unmatched text between two matches is one edit, and so is a piece that moved.

Upstream's quirks stay. All alignments of the least cost count, so that an edit counts once for every distinct list of
edits that contains it, and a hit as often as the lists of the reference contain it. If the lengths of both sentences
differ by more than ten, only the first alignment counts.

Upstream looks up the similarity of two characters in a thesaurus (Cilin), in a table of confusable characters and in
pypinyin's readings. None of these is part of this module, but `CharacterTables` accepts those that are available.

Not here: edits of words, types of edits, several references, and conversion of traditional characters.
"""

from __future__ import annotations

import functools
import string
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

MOST_LISTS = 5_000
"""The most alignments that are enumerated; if there are more (upstream would not finish), only the first counts."""
_FIRST_ONLY = 10
_DELETED = "-NONE-"
_IMPOSSIBLE = "无法标注"
_PUNCTUATION = (
    string.punctuation
    + "！？｡＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》"
    + "「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟–—‘'‛“”„‟…‧."
)
"""Characters whose deletion in one place and insertion in another never counts as a move."""
_MARKS = frozenset(_PUNCTUATION.removesuffix(".") + "〰〾〿﹏")
"""Characters that are expensive to substitute for other characters."""


class Edit(NamedTuple):
    """Characters `start` to `end` of a source text, and the target's text in their place ("-NONE-" for a deletion)."""

    start: int
    end: int
    text: str


class CharacterTables(NamedTuple):
    """Knowledge about characters for the cost of substituting them; by default, nothing is known."""

    thesaurus_code: Callable[[str], str | None] = lambda character: None
    """Returns a character's code in the thesaurus Cilin, such as Aa01A01, or None."""
    is_similar: Callable[[str, str], bool] = lambda character, other: False
    """Returns whether two Chinese characters sound or look alike."""


NO_TABLES = CharacterTables()


class Counts(NamedTuple):
    """Numbers of correct, surplus and missed edits, in one sentence or in several."""

    hits: int
    """Edits of the prediction that are in the reference."""
    surplus: int
    """Edits of the prediction that are not in the reference."""
    missed: int
    """Edits of the reference that are not in the prediction."""

    def f_beta_pair(self, beta: float = 0.5) -> tuple[float, float]:
        """Return the numerator and denominator of F-beta; the sums over sentences give the F-beta of the corpus."""
        weight = beta * beta
        return (1 + weight) * self.hits, (1 + weight) * self.hits + weight * self.missed + self.surplus


def count_edits(source: str, prediction: str, reference: str, tables: CharacterTables = NO_TABLES) -> Counts:
    """Return how many edits from `source` to `prediction` are among the edits from `source` to `reference`."""
    if reference == _IMPOSSIBLE:
        return Counts(0, 0, 0)
    predicted, expected = edits(source, prediction, tables), _reference_edits(source, reference, tables)
    return Counts(
        sum(count for edit, count in expected.items() if edit in predicted),
        sum(count for edit, count in predicted.items() if edit not in expected),
        sum(count for edit, count in expected.items() if edit not in predicted),
    )


def edits(source: str, target: str, tables: CharacterTables = NO_TABLES) -> Counter[Edit]:
    """Return the edits from `source` to `target`, each with the number of lists of edits that contain it.

    White space is ignored. The function takes time proportional to the product of both lengths, a second for 500
    characters each.

    The result is empty if the texts are equal or the target says that there is no error (没有错误). It is one empty
    edit at -1 if the target says that the source cannot be corrected (无法标注).
    """
    source, target = "".join(source.split()), "".join(target.split())
    if target in (source, "没有错误"):
        return Counter()
    if target == _IMPOSSIBLE:
        return Counter([Edit(-1, -1, _DELETED)])
    first_only = abs(len(source) - len(target)) > _FIRST_ONLY
    # Every alignment ends with the whole common suffix, whatever comes before.
    suffix = next((k for k, (a, b) in enumerate(zip(reversed(source), reversed(target), strict=False)) if a != b), None)
    suffix = min(len(source), len(target)) if suffix is None else suffix
    source, target = source[: len(source) - suffix], target[: len(target) - suffix]
    operations = _operations(source, target, tables)
    if first_only:
        operations = _first(operations)
    if _number_of_alignments(operations) > MOST_LISTS:
        operations = _first(operations)
    lists = {_edit_spans(spans, source, target) for spans in _alignments(operations)}
    return Counter(
        Edit(span.start, span.end, target[span.to_start : span.to_end] or _DELETED) for spans in lists for span in spans
    )


@functools.lru_cache(maxsize=1024)  # every checkpoint's answers need the same ones
def _reference_edits(source: str, reference: str, tables: CharacterTables) -> Counter[Edit]:
    return edits(source, reference, tables)


class _Span(NamedTuple):
    """A piece of the source aligned with a piece of the target."""

    kind: str
    """M(atched), D(eleted), I(nserted), S(ubstituted), or T and its length for a transposition."""
    start: int
    end: int
    to_start: int
    to_end: int


_Operation = tuple[str, int, int]
"""The kind of a step of an alignment, and the numbers of source and of target characters that the step consumes."""
_MATCH, _DELETE, _INSERT, _SUBSTITUTE = ("M", 1, 1), ("D", 1, 0), ("I", 0, 1), ("S", 1, 1)


def _operations(source: str, target: str, tables: CharacterTables) -> list[list[list[_Operation]]]:
    """Return, for each pair of prefixes, the operations that may end the cheapest alignment of the two prefixes.

    The indexes of the result are the lengths of both prefixes.
    """
    width = len(target)
    costs = [[float(j) for j in range(width + 1)]]
    operations: list[list[list[_Operation]]] = [[[], *([_INSERT] for _ in target)]]
    reach_above = [0] * (width + 1)  # for how many diagonal steps back from here costs keep changing
    last_in_source: dict[str, int] = {}  # the last position of each character in the source so far
    cost_cache: dict[str, dict[str, float]] = {}
    for i, source_character in enumerate(source):
        above, row, row_operations, row_reach = costs[i], [i + 1.0], [[_DELETE]], [0]
        substitutions, last_in_target = cost_cache.setdefault(source_character, {}), -1 - len(source)
        for j, target_character in enumerate(target):
            diagonal = above[j]
            if source_character == target_character:
                row.append(diagonal)
                row_operations.append([_MATCH])
                row_reach.append(0)
                last_in_target = j
                continue
            cost = substitutions.get(target_character)
            if cost is None:
                cost = _substitution_cost(source_character, target_character, tables)
                substitutions[target_character] = cost
            substituted, inserted, deleted = diagonal + cost, row[j] + 1, above[j + 1] + 1
            least, ways = min(substituted, inserted, deleted), []
            # A transposed piece contains each of the two characters in the other text, too.
            reach = reach_above[j]
            if reach >= j - last_in_target and reach >= (back := i - last_in_source.get(target_character, -1 - width)):
                moved = _transposed(source, target, i, j, max(back, j - last_in_target), min(reach, i, j))
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
            row_operations.append(ways)
            row_reach.append(reach + 1 if least != diagonal else 0)
        last_in_source[source_character] = i
        costs.append(row)
        operations.append(row_operations)
        reach_above = row_reach
    return operations


def _first(operations: list[list[list[_Operation]]]) -> list[list[list[_Operation]]]:
    return [[ways[:1] for ways in row] for row in operations]


def _transposed(source: str, target: str, i: int, j: int, least: int, most: int) -> int:
    """Return how many characters before `i` and `j` belong to the shortest transposition that ends at `i` and `j`.

    In the transposed pieces, which include the characters at `i` and `j`, the texts differ only in order. The number is
    from `least` to `most`, or 0 if there is no transposition.
    """
    surplus = Counter(source[i - least : i + 1])
    surplus.subtract(target[j - least : j + 1])
    unequal = sum(count != 0 for count in surplus.values())
    for back in range(least, most + 1):
        if not unequal:
            return back
        if back < most:
            for character, step in ((source[i - back - 1], 1), (target[j - back - 1], -1)):
                before = surplus[character]
                surplus[character] = before + step
                unequal += (before == 0) - (before + step == 0)
    return 0


def _substitution_cost(character: str, other: str, tables: CharacterTables) -> float:
    code, other_code = tables.thesaurus_code(character), tables.thesaurus_code(other)
    if code is None or other_code is None:
        meaning = 4
    else:
        levels = zip((code[0], code[1], code[2:4]), (other_code[0], other_code[1], other_code[2:4]), strict=True)
        meaning = 2 * sum(a != b for a, b in levels)
    marks = (character in _MARKS) + (other in _MARKS)
    are_similar = _is_chinese(character) and _is_chinese(other) and tables.is_similar(character, other)
    # In upstream's order: whether two alignments cost the same depends on the last bit.
    return meaning / 6.0 + (0.0 if are_similar else 0.5) + (0.25, 0.499, 0.0)[marks]


def _is_chinese(character: str) -> bool:
    return "\u4e00" <= character <= "\u9fff"


def _alignments(operations: list[list[list[_Operation]]]) -> Iterator[tuple[_Span, ...]]:
    """Yield each of the cheapest alignments once."""
    pending: list[tuple[_Span, tuple[_Span, ...]]] = [(span, ()) for span in _previous_spans(operations, None)]
    while pending:
        span, following = pending.pop()
        spans = (span, *following)
        if span.start or span.to_start:
            pending += [(previous, spans) for previous in _previous_spans(operations, span)]
        else:
            yield spans


def _number_of_alignments(operations: list[list[list[_Operation]]]) -> int:
    """Return the number of cheapest alignments."""
    ways: Counter[_Span] = Counter(_previous_spans(operations, None))
    total = 0
    for end in range(len(operations) + len(operations[0]) - 2, 0, -1):
        for span in [span for span in ways if span.end + span.to_end == end]:
            number = ways.pop(span)
            if span.start or span.to_start:
                ways.update(dict.fromkeys(_previous_spans(operations, span), number))
            else:
                total += number
    return total


def _previous_spans(operations: list[list[list[_Operation]]], following: _Span | None) -> list[_Span]:
    """Return the spans that may precede `following` (None: end the sentence). Unmatched text is one span."""
    i, j = (following.start, following.to_start) if following else (len(operations) - 1, len(operations[0]) - 1)
    ways = operations[i][j]
    if ways == [_MATCH]:
        k = 1
        while operations[i - k][j - k] == [_MATCH]:
            k += 1
        return [_Span("M", i - k, i, j - k, j)]
    spans = [_Span(f"T{size}", i - size, i, j - size, j) for kind, size, _ in ways if kind == "T"]
    if following is None or following.kind[0] in "MT":
        for a, b in _unmatched_starts(operations, i, j):
            spans.append(_Span("D" if b == j else "I" if a == i else "S", a, i, b, j))
    return spans


def _unmatched_starts(operations: list[list[list[_Operation]]], i: int, j: int) -> list[tuple[int, int]]:
    """Return where a span that ends at (i, j), and has no matches or transpositions, may begin in both texts."""
    starts, visited, pending = [], {(i, j)}, [(i, j)]
    while pending:
        a, b = pending.pop()
        ways = operations[a][b]
        if (a, b) != (i, j) and (not ways or any(way[0] in "MT" for way in ways)):
            starts.append((a, b))
        for _, down, across in (way for way in ways if way[0] not in "MT"):
            if (a - down, b - across) not in visited:
                visited.add((a - down, b - across))
                pending.append((a - down, b - across))
    return starts


def _edit_spans(spans: Sequence[_Span], source: str, target: str) -> tuple[_Span, ...]:
    """Return the edits of the alignment `spans`. A piece moved over another is one edit; substitutions are trimmed."""
    merged, i = [], 0
    while i < len(spans):
        three = spans[i : i + 3]
        if len(three) == 3 and _is_move(three, source, target):
            size = three[2].end - three[0].start
            merged.append(_Span(f"T{size}", three[0].start, three[2].end, three[0].to_start, three[2].to_end))
            i += 3
            continue
        if spans[i].kind != "M":
            merged.append(spans[i])
        i += 1
    changed = (span for span in merged if source[span.start : span.end] != target[span.to_start : span.to_end])
    return tuple(_trimmed(span, source, target) if span.kind == "S" else span for span in changed)


def _is_move(spans: Sequence[_Span], source: str, target: str) -> bool:
    """Return whether three spans are one move: text from before the middle span reappears after it, or the reverse."""
    first, middle, last = spans
    kinds = first.kind + middle.kind[0] + last.kind
    if kinds == "SMS":
        old, new = ((source[x.start : x.end], target[y.to_start : y.to_end]) for x, y in ((first, last), (last, first)))
        if min(map(len, (*old, *new))) == 1:
            return old[0] == old[1] and new[0] == new[1]
        return _is_within_one_edit(*old) and _is_within_one_edit(*new)
    if kinds in ("DMI", "DTI"):
        deleted, inserted = source[first.start : first.end], target[last.to_start : last.to_end]
    elif kinds in ("IMD", "ITD"):
        deleted, inserted = source[last.start : last.end], target[first.to_start : first.to_end]
    else:
        return False
    if abs(len(deleted) - len(inserted)) > 1 or deleted in _PUNCTUATION or inserted in _PUNCTUATION:
        return False
    if min(len(deleted), len(inserted)) == 1:
        return deleted == inserted
    return _is_within_one_edit(deleted, inserted) or (len(deleted) == len(inserted) and inserted in deleted + deleted)


def _is_within_one_edit(text: str, other: str) -> bool:
    """Return whether at most one insertion, deletion or substitution turns one text into the other."""
    if len(text) > len(other):
        text, other = other, text
    prefix = next((k for k, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), len(text))
    if len(text) == len(other):
        return text[prefix + 1 :] == other[prefix + 1 :]
    return len(other) - len(text) == 1 and text[prefix:] == other[prefix + 1 :]


def _trimmed(span: _Span, source: str, target: str) -> _Span:
    """Return the substitution `span` without the prefix and suffix that its source and target text share."""
    old, new = source[span.start : span.end], target[span.to_start : span.to_end]
    prefix = next((k for k, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    rest = old[prefix:]
    pairs = zip(reversed(rest), reversed(new), strict=False)
    suffix = next((k for k, (a, b) in enumerate(pairs) if a != b), min(len(rest), len(new)))
    if suffix > len(new) - prefix:  # upstream searches the whole target piece, and keeps an overlapping suffix
        suffix = 0
    start, end = span.start + prefix, span.end - suffix
    to_start, to_end = span.to_start + prefix, span.to_end - suffix
    return _Span("I" if start == end else "D" if to_start == to_end else "S", start, end, to_start, to_end)
