"""Cuts: ways to split texts into the words that ROUGE compares, and the choice of one for a set of references.

    words       rouge-score's: runs of a–z and 0–9, in lower case
    unicode     such runs of the letters, marks and digits of every script; equal to `words` on texts in a–z
    jieba       jieba's words, as rouge-chinese counts them
    characters  the letters, marks and digits one by one, in lower case: sacrebleu's `char` without punctuation

A cut is chosen for all references of a task together, so that no score mixes two cuts. It is `words` if this loses no
letter of any reference; else `unicode` if every reference is mainly in scripts that separate words by spaces; else
`jieba` if the references as a whole are Chinese; else `characters`, for Japanese, Korean, Thai, … and mixtures. A few
names in another script, emoji and the width of letters and digits do not affect the choice.

For `unicode` and `characters`, it makes no difference whether a letter and its accent are one code point or two (NFC),
nor how wide a letter is. `words` and `jieba` read texts as their libraries do: `２０２３` is not `2023`.

Not here: scores (`harness.metrics.text.overlap`).
"""

from __future__ import annotations

import bisect
import enum
import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from harness.metrics.text import segmenter

Words = tuple[str, ...]

_HAN = (
    *((0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3021, 0x3029), (0x3038, 0x303B), (0x3400, 0x4DBF), (0x4E00, 0x9FFF)),
    *((0xF900, 0xFAFF), (0x20000, 0x3FFFF)),
)
# Scripts that do not separate words by spaces, and Hangul, where a space separates a word with its particles.
_OTHER_UNSPACED = (
    (0x0E00, 0x0FFF),  # Thai, Lao, Tibetan
    (0x1000, 0x109F),  # Burmese
    (0x1100, 0x11FF),  # Hangul
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19FF),  # Tai Le, New Tai Lue, Khmer symbols
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x1B00, 0x1B7F),  # Balinese
    *((0x3040, 0x31BF), (0x31F0, 0x31FF)),  # kana, Bopomofo, Hangul
    (0xA000, 0xA4CF),  # Yi
    (0xA960, 0xA97F),  # Hangul
    (0xA980, 0xAADF),  # Javanese, Burmese, Cham, Tai Viet
    (0xAC00, 0xD7FF),  # Hangul
    (0xFF66, 0xFFDC),  # half-width kana and Hangul
    (0x1AFF0, 0x1B16F),  # kana
)


_USUAL_WIDTHS = {
    code: int(unicodedata.decomposition(chr(code)).split()[1], 16)
    for code in range(0xFF01, 0xFFDD)
    if unicodedata.decomposition(chr(code))
}
"""Maps full-width ASCII, and half-width kana and Hangul, to the usual forms (code point → code point)."""


def latin_words(text: str) -> Words:
    """Return the words of `text` as rouge-score's default tokenizer returns them."""
    return tuple(_LATIN_WORD.findall(text.lower()))


_LATIN_WORD = re.compile("[a-z0-9]+")


@functools.lru_cache(maxsize=4096)  # a reference recurs for each checkpoint and metric
def unicode_words(text: str) -> Words:
    """Return the runs of letters, marks and digits in `text`, in lower case; each begins with a letter or a digit."""
    words: list[str] = []
    start: int | None = None
    text = unicodedata.normalize("NFC", text.translate(_USUAL_WIDTHS).lower())
    for place, character in enumerate(text):
        kind = _kind(character)
        if start is None and kind in ("L", "N"):
            start = place
        elif start is not None and kind not in ("L", "N", "M"):
            words.append(text[start:place])
            start = None
    return tuple(words if start is None else [*words, text[start:]])


@functools.lru_cache(maxsize=4096)
def characters(text: str) -> Words:
    """Return the letters, marks and digits of `text` one by one, in lower case."""
    return tuple(character for word in unicode_words(text) for character in word)


# rouge-chinese's `cut_sent`, which splits sentences. It affects the words in one case only: a line of nothing but white
# space counts as one empty word.
_SENTENCE_ENDS = (
    (r"([。！？\?])([^”’])", r"\1\n\2"),
    (r"(\.{6})([^”’])", r"\1\n\2"),
    (r"(\…{2})([^”’])", r"\1\n\2"),
    (r"([。！？\?][”’])([^，。！？\?])", r"\1\n\2"),
)


@functools.lru_cache(maxsize=4096)
def jieba_words(text: str) -> Words:
    """Return the words of `text` by jieba, without white space, as rouge-chinese counts them."""
    words = segmenter.words(text)
    if text.split(maxsplit=1) == [text]:  # without white space there is no such line
        return tuple(words)
    spaced = " ".join(words)
    for pattern, replacement in _SENTENCE_ENDS:
        spaced = re.sub(pattern, replacement, spaced)
    lines = (" ".join(line.split()) for line in spaced.rstrip().split("\n") if line)
    return tuple(word for line in lines for word in line.split(" "))


CUTS: dict[str, Callable[[str], Words]] = {
    "words": latin_words,
    "unicode": unicode_words,
    "jieba": jieba_words,
    "characters": characters,
}
"""The function that splits a text into words, by the name of the cut (the way to split)."""


def has_word(text: str) -> bool:
    """Return whether `text` has a letter or a digit. Texts without them, such as emoji or punctuation, have no word."""
    return bool(unicode_words(text))


def choose(references: Collection[str]) -> str:
    """Return the name of the cut (way to split texts into words) for all `references`; each must have a word."""
    if all(map(_is_cut_by_words, references)):
        return "words"
    counts = [_count(reference) for reference in references]
    if not any(count.han + count.unspaced >= count.words for count in counts):
        return "unicode"
    return "jieba" if _is_chinese(_Counts(*map(sum, zip(*counts, strict=True)))) else "characters"


class _Counts(NamedTuple):
    """How much of a text is in each kind of script."""

    han: int
    """The number of Chinese characters."""
    unspaced: int
    """The number of letters of other scripts without spaces between words, such as kana and Thai."""
    foreign: int
    """The number of letters and digits of all scripts, in any width, except Chinese characters, a–z and 0–9."""
    letters: int
    """The number of all letters and digits."""
    words: int
    """The number of words in scripts with spaces between words."""


def _count(text: str) -> _Counts:
    scripts: Counter[_Script] = Counter()
    words = 0
    for word in unicode_words(text):
        of_letters = [_script(letter) for letter in word if _kind(letter) != "M"]
        scripts.update(of_letters)
        has_spaces = [script in (_Script.LATIN, _Script.SPACED) for script in of_letters]
        words += sum(is_here and not was for was, is_here in zip([False, *has_spaces], has_spaces, strict=False))
    foreign = scripts[_Script.UNSPACED] + scripts[_Script.SPACED]
    return _Counts(scripts[_Script.HAN], scripts[_Script.UNSPACED], foreign, scripts.total(), words)


class _Script(enum.Enum):
    LATIN = "a–z and 0–9 in any form"
    SPACED = "another script with spaces between words"
    HAN = "Chinese characters"
    UNSPACED = "another script without spaces between words"


@functools.lru_cache(maxsize=65536)
def _script(letter: str) -> _Script:
    if _is_in(letter, _HAN):
        return _Script.HAN
    if _is_in(letter, _OTHER_UNSPACED):
        return _Script.UNSPACED
    is_latin = all(map(_is_latin, unicodedata.normalize("NFKC", letter).lower()))
    return _Script.LATIN if is_latin else _Script.SPACED


def _is_chinese(counts: _Counts) -> bool:
    """Return whether at most a tenth of the letters in scripts without spaces, and half of all letters, are foreign.

    Foreign letters are neither Chinese nor a–z or 0–9. jieba splits foreign scripts letter by letter. Even in Japanese
    with many kanji, usually more than a tenth of the letters are foreign (kana).
    """
    return 10 * counts.unspaced <= counts.han + counts.unspaced and 2 * counts.foreign <= counts.letters


def _is_cut_by_words(text: str) -> bool:
    """Return whether rouge-score loses no letter, mark or digit of `text`, except the signs of emoji such as 1️⃣."""
    if text.isascii():
        return True
    composed = unicodedata.normalize("NFC", text.lower())
    return all(_is_latin(sign) or sign in "\ufe0f\u20e3" for sign in composed if _kind(sign) in ("L", "M", "N"))


def _is_latin(letter: str) -> bool:
    return "a" <= letter <= "z" or "0" <= letter <= "9"


@functools.lru_cache(maxsize=65536)
def _kind(character: str) -> str:
    """Return the first letter of a character's Unicode category: L is a letter, M a mark, N a number."""
    return unicodedata.category(character)[0]


def _is_in(letter: str, ranges: Sequence[tuple[int, int]]) -> bool:
    place = bisect.bisect_right(ranges, (ord(letter), 0x110000)) - 1
    return place >= 0 and ranges[place][0] <= ord(letter) <= ranges[place][1]
