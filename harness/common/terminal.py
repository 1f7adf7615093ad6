r"""Text as a terminal may get it: no character that moves the cursor, sets a colour, or reorders or hides text.

Names, answers, documents and errors may hold such characters. Everything printed goes through the console
(`harness.common.console`) or through `echo`, which replace each such character by U+FFFD. They replace control
characters except tabs and line ends (so no escape sequence is left, nor its one-character form U+009B), bidi controls,
zero-width and other invisible characters, line and paragraph separators, and halves of surrogate pairs. A byte order
mark (U+FEFF) and a soft hyphen (U+00AD) are invisible, too, so a text that contains them shows U+FFFD there. Joiners
stay where writing needs them: between emoji (👩‍🔬), in flags (🏴󠁧󠁢󠁳󠁣󠁴󠁿), and in Arabic and Indic words. So do the zero-
width spaces between words of Thai, Lao, Khmer, Myanmar and their relatives, and the vowel separator of Mongolian.
Combining marks, variation selectors and every letter stay.

Letters that are written from right to left still run that way in a terminal that follows the bidi algorithm.

Not here: files. What is written to a file keeps every character.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from typing import TextIO

_EMOJI = "\u00a9\u00ae\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_JOINED_SCRIPTS = "\u0600-\u061b\u061d-\u109f\u1700-\u18af\u1900-\u1cff\ua800-\uabff\U00011000-\U00011fff"
_UNSPACED_SCRIPTS = (
    "\u0e01-\u0eff\u1000-\u109f\u1780-\u17b3\u17b6-\u17ff\u1950-\u19ff\u1a20-\u1aaf\ua9e0-\ua9ff\uaa60-\uaadf"
)
_NEEDED = (
    f"(?<=[{_EMOJI}\ufe0f])\u200d(?=[{_EMOJI}])"
    f"|(?<=[{_JOINED_SCRIPTS}])[\u200c\u200d]"
    f"|(?<=[{_UNSPACED_SCRIPTS}])\u200b(?=[{_UNSPACED_SCRIPTS}])"
    "|(?<=[\u1820-\u18aa])\u180e(?=[\u1820-\u18aa])"
    "|(?<=\U0001f3f4)[\U000e0020-\U000e007e]{2,6}\U000e007f"
)
_OBEYED = (
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]"
)
_PATTERN = re.compile(f"({_NEEDED})|{_OBEYED}")


def lines(text: str) -> str:
    """Return `text`, which may have several lines, with each character that a terminal obeys replaced by U+FFFD."""
    if text.isprintable() and text.isascii():
        return text
    return _PATTERN.sub(lambda match: match[1] or "\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def line(text: str) -> str:
    """Return `text` as `lines` does, with line ends and tabs replaced by spaces: a name must not begin a new line."""
    return lines(text).replace("\n", " ").replace("\t", " ")


def echo(*texts: str, error: bool = False) -> None:
    """Print each of `texts` on a line of its own; to standard error if `error`."""
    write("".join(f"{line(text)}\n" for text in texts), sys.stderr if error else sys.stdout)


def write(text: str, stream: TextIO | None) -> None:
    """Write `text`, which may have several lines, to `stream`, filtered for a terminal; do nothing if it is None.

    If nobody reads the stream any more (`| head`), what is written is discarded from then on.
    """
    write_document(lines(text), stream)


def write_document(text: str, stream: TextIO | None) -> None:
    """Write `text` as `write` does, but filtered only if `stream` is a terminal: a file keeps every character."""
    if stream is None:
        return
    try:
        stream.write(lines(text) if stream.isatty() else text)
        stream.flush()
    except BrokenPipeError:
        discard(stream)


def discard(stream: TextIO) -> None:
    """Discard everything that is written to `stream` from now on, so that the program ends with its own exit code."""
    with suppress(OSError, ValueError):  # a stream without a file descriptor
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)
