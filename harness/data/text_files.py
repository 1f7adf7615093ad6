"""Texts in a user's own files: a file that is not UTF-8 is refused, and the error names its likely encoding.

U+FEFF, the byte order mark, is not part of a text. Editors and Excel write it at the beginning of a file, and files
that were joined have it in the middle. It is therefore dropped wherever it stands, and counted.

Not here: rows (`harness.data.rows`).
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from pathlib import Path

from harness.common import places
from harness.errors import HarnessError

MARK = "\ufeff"
"""The byte order mark."""
_SAMPLE_BYTES = 2**20
"""The number of bytes at the beginning of a file by which its encoding is guessed."""


def read_text(file: Path) -> str:
    """Return the text of `file` with its line ends and byte order marks unchanged.

    Raises HarnessError if the file cannot be read, is not UTF-8 or holds a NUL character.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise places.explained(error, file) from error
    text = decoded(data, str(file))
    if "\0" in text:
        place = text.index("\0")
        if _encoding(data):
            raise HarnessError(f"{file} is not UTF-8 (NUL in byte {place:,}){_advice(data, 1)}")
        line = text.count("\n", 0, place) + 1
        raise HarnessError(f"{file}, line {line}, holds a NUL character, which no text has: correct the file")
    return text


def decoded(data: bytes, where: str) -> str:
    """Return `data`, the content of `where`, decoded from UTF-8; raise HarnessError if it is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise HarnessError(f"{where} is not UTF-8 (byte {error.start:,}){_advice(data, line)}") from error


def without_marks(text: str) -> tuple[str, int]:
    """Return `text` without byte order marks, and how many it had."""
    count = text.count(MARK)
    return (text.replace(MARK, ""), count) if count else (text, 0)


def _advice(data: bytes, line: int) -> str:
    """Return the end of the error about a file that is not UTF-8 from `line` on: its likely encoding, with advice."""
    encoding = _encoding(data)
    if encoding:
        return f", but looks like {_NAMES.get(encoding, encoding)}: convert it ('iconv -f {encoding} -t UTF-8')"
    if _is_damaged_utf8(data):
        return f": line {line} is damaged, correct it"
    return ": convert it"


def _encoding(data: bytes) -> str:
    """Return iconv's name of the encoding, other than UTF-8, that `data` seems to have; empty if unknown."""
    sample = data[:_SAMPLE_BYTES]
    if sample.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "UTF-32"
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if even + odd > max(3, len(sample) / 16) and max(even, odd) > 16 * min(even, odd):
        return "UTF-16LE" if odd > even else "UTF-16BE"
    if _is_damaged_utf8(sample):
        return ""
    if _share(sample, "euc_kr", _is_hangul) > 0.95:  # in other respects it resembles GBK
        return "EUC-KR"
    shares = {name: _share(sample, name, is_common) for name, is_common in _CANDIDATES.items()}
    best = max(shares, key=lambda name: shares[name])
    if shares[best] >= 0.7:
        return best
    return "WINDOWS-1252" if _share(sample, "cp1252", str.isalpha) >= 0.7 and 0 not in sample else ""


def _is_damaged_utf8(data: bytes) -> bool:
    """Return whether most of the characters beyond ASCII in `data` are valid UTF-8, and only some are not."""
    text = data.decode(errors="replace")
    damaged = text.count("\ufffd")
    return sum(letter > "\x7f" for letter in text) - damaged > 2 * damaged


def _share(data: bytes, encoding: str, is_common: Callable[[str], bool]) -> float:
    """Return which share of the non-ASCII characters in `data`, decoded from `encoding`, is common; 0 if undecodable.

    A character that is cut off at the end of `data` is not counted.
    """
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(data)
    except UnicodeDecodeError:
        return 0.0
    letters = [letter for letter in text if letter > "\x7f"]
    return sum(map(is_common, letters)) / len(letters) if letters else 0.0


def _is_common_simplified(letter: str) -> bool:
    """Return whether `letter` is punctuation or one of the 3,755 common characters of GB 2312."""
    code = letter.encode("gb2312", errors="ignore")
    return bool(code) and (0xA1 <= code[0] <= 0xA3 or 0xB0 <= code[0] <= 0xD7)


def _is_common_traditional(letter: str) -> bool:
    """Return whether `letter` is punctuation or one of the 5,401 common characters of Big5."""
    code = letter.encode("big5", errors="ignore")
    return bool(code) and 0xA1 <= code[0] <= 0xC6


def _is_hangul(letter: str) -> bool:
    return "\uac00" <= letter <= "\ud7a3"


_CANDIDATES: dict[str, Callable[[str], bool]] = {
    "GB18030": _is_common_simplified,
    "BIG5": _is_common_traditional,
}
"""Encodings of Chinese, each with the function that says whether a character is common."""
_NAMES = {"GB18030": "GBK"}
"""What people call an encoding that iconv knows under another name."""
