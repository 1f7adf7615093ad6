"""Values of Chinese and English numerals: 三万五, 1.2 of 亿, two hundred and six.

Chinese numerals are combined from digits and scales as cn2an does, in linear time; there may be Arabic digits among
them, and an elided last scale is supplied (三百五 = 350). Runs that are not well formed have no value: 三三, 十五六,
百.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

CHINESE_DIGITS = {
    letter: value
    for value, letters in enumerate(
        ("零〇", "一壹", "二贰貳两兩", "三叁參", "四肆", "五伍", "六陆陸", "七柒", "八捌", "九玖")
    )
    for letter in letters
}
CHINESE_SCALES = {
    letter: value
    for letters, value in (("十拾", 10), ("百佰", 100), ("千仟", 1000), ("万萬", 10**4), ("亿億", 10**8))
    for letter in letters
}
NUMERAL_LETTERS = "".join((*CHINESE_DIGITS, *CHINESE_SCALES)) + "廿卅"
LONGEST_NUMERAL = 60
"""The most letters and Arabic numbers of a Chinese numeral; a longer numeral has no value."""

_WORDS = (
    "zero one two three four five six seven eight nine",
    "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen",
)
_ONES = [word for line in _WORDS for word in line.split()]
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
ENGLISH_DIGITS = {word: value for value, word in enumerate(_ONES)} | {
    word: 10 * value for value, word in enumerate(_TENS, 2)
}
ENGLISH_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
ENGLISH_SCALES |= {f"{word}s": value for word, value in ENGLISH_SCALES.items()} | {
    "mln": 10**6,
    "mn": 10**6,
    "bn": 10**9,
}


def chinese_value(parts: Sequence[str | Fraction]) -> Fraction | None:
    """Return the value of a numeral of ideographs and Arabic numbers, or None if it is not well formed.

    `parts` are single ideographs of `NUMERAL_LETTERS` and the values of the Arabic numbers among them: 3万5千 is
    [3, "万", 5, "千"].
    """
    parts = _spelled_out(parts)
    if not parts or len(parts) > LONGEST_NUMERAL:
        return None
    if all(part in CHINESE_DIGITS for part in parts):
        return _positional(parts)
    return _Sum().of(parts)


def chinese_decimals(letters: str) -> Fraction | None:
    """Return the value that `letters` spell after 点 (一四 is 0.14), or None if not all of them are digits."""
    if not letters or len(letters) > LONGEST_NUMERAL or any(letter not in CHINESE_DIGITS for letter in letters):
        return None
    return Fraction(int("".join(str(CHINESE_DIGITS[letter]) for letter in letters)), 10 ** len(letters))


def english_value(words: Sequence[str]) -> int | None:
    """Return the value of an English numeral in lower-case words without "and", or None if it is not well formed."""
    total = section = 0
    lowest = 10**15  # the scale of the last section
    room = 100  # what the next word of this section must stay below
    for word in words:
        if word in ENGLISH_DIGITS:
            value = ENGLISH_DIGITS[word]
            if value >= room:
                return None
            section += value
            room = 10 if value >= 20 else 0
        elif ENGLISH_SCALES[word] == 100:
            if not 0 < section < 20:
                return None
            section, room = section * 100, 100
        else:
            scale = ENGLISH_SCALES[word]
            if not section or scale >= lowest:
                return None
            total, section, lowest, room = total + section * scale, 0, scale, 100
    return total + section


def _spelled_out(parts: Sequence[str | Fraction]) -> list[str | Fraction]:
    spelled: list[str | Fraction] = []
    for part in parts:
        spelled += {"廿": "二十", "卅": "三十"}[part] if part in ("廿", "卅") else [part]  # type: ignore[index]
    return spelled


def _positional(parts: Sequence[str | Fraction]) -> Fraction | None:
    """Return the value of a numeral of digits alone (二〇二四); 两 counts as a digit only if it is the only digit."""
    if len(parts) > 1 and any(part in ("两", "兩") for part in parts):
        return None
    return Fraction(int("".join(str(CHINESE_DIGITS[str(part)]) for part in parts)))


class _Sum:
    """The sum of a numeral's parts while the numeral is read from the left."""

    def __init__(self) -> None:
        self.total = Fraction(0)
        """Sum of the parts that 万 and 亿 have multiplied."""
        self.section = Fraction(0)
        """Sum of the parts that 十, 百 and 千 have multiplied since the last 万 or 亿."""
        self.digit: Fraction | None = None
        """The number read last, which waits for its scale (十, 百, 万 …)."""
        self.has_gap = False
        """Whether a 零 precedes `digit`, the number that waits for its scale."""
        self.scale = 10**9
        """The last scale (十, 百 or 千) since the last 万 or 亿; 10^9 before the first one."""
        self.largest = 0
        """The value of the last 万 or 亿; 0 before the first one."""

    def of(self, parts: Sequence[str | Fraction]) -> Fraction | None:
        """Return the value of `parts`, or None if they are not well formed."""
        for i, part in enumerate(parts):
            if isinstance(part, str) and part in CHINESE_SCALES:
                is_read = self._scaled(CHINESE_SCALES[part])
            else:
                is_read = self._digit(part, follower=parts[i + 1] if i + 1 < len(parts) else None)
            if not is_read:
                return None
        return self._ended()

    def _digit(self, part: str | Fraction, follower: str | Fraction | None) -> bool:
        value = part if isinstance(part, Fraction) else Fraction(CHINESE_DIGITS[part])
        if part in ("两", "兩") and follower not in (*"百佰千仟万萬亿億",):
            return False
        if self.digit is not None:
            return False
        if value == 0 and not isinstance(part, Fraction):
            was_gap, self.has_gap = self.has_gap, True
            return not was_gap and follower is not None
        self.digit = value
        return True

    def _scaled(self, scale: int) -> bool:
        digit = self.digit
        self.digit, self.has_gap = None, False
        if scale < 10**4:
            if digit is None and scale == 10:
                digit = Fraction(1)  # 十五, 一百十五, 一万零十五
            if digit is None or scale >= self.scale or (self.largest and digit * scale >= self.largest):
                return False
            self.section += digit * scale
            self.scale = scale
            return True
        self.section += digit or 0
        if not self.section:  # 万亿
            if scale <= self.largest or not self.total or self.largest == 10**8:
                return False
            self.total *= scale
        elif scale < self.largest:
            self.total += self.section * scale
        elif self.largest < scale:
            self.total = (self.total + self.section) * scale
        else:
            return False
        self.section, self.scale, self.largest = Fraction(0), 10**9, scale
        return True

    def _ended(self) -> Fraction | None:
        if self.digit is None:
            return self.total + self.section
        last = self.scale if self.scale < 10**4 else self.largest
        if self.digit.denominator != 1 or self.digit >= last:
            return None
        is_elided = not self.has_gap and self.digit < 10 and last > 10  # 三百五 is 350, 三百零五 is 305
        return self.total + self.section + self.digit * (last // 10 if is_elided else 1)
