"""jieba's words, in half of jieba's time or less, and in time that grows with the text only.

Most of jieba's time goes into the likeliest way through its dictionary: it takes the logarithm of a word's frequency
whenever it meets the word, and looks at each piece of the text twice. Here logarithms are taken once for the whole
dictionary, and a text is gone through once, from behind. Characters that make no word of the dictionary get their words
from jieba's hidden Markov model; jieba copies the way so far at each of them, here it is told from its end. Operations
are jieba's own in jieba's order, so that even ties end as they do there.

Dictionary, probabilities and patterns are read from jieba. Words that a program adds to it are not seen, since scores
must not depend on them.

Not here: what is done with words (`generation`).
"""

from __future__ import annotations

import functools
import logging
import math
from typing import Any


class Segmenter:
    """jieba 0.42.1's `lcut` as it is by default: the accurate mode, with its model of unknown words."""

    def __init__(self) -> None:
        """Read jieba's dictionary, which takes a second."""
        import jieba
        from jieba import finalseg

        jieba.setLogLevel(logging.WARNING)  # it would tell that it reads its dictionary
        dictionary = jieba.Tokenizer()
        dictionary.initialize()
        whole = math.log(dictionary.total)
        # 0 is the beginning of words and no word itself: logarithms of shares are below.
        self._weights = {word: math.log(n) - whole if n else 0.0 for word, n in dictionary.FREQ.items()}
        self._unknown = math.log(1) - whole
        self._blocks, self._gaps = jieba.re_han_default, jieba.re_skip_default
        self._chinese, self._latin = finalseg.re_han, finalseg.re_skip
        self._model = _Model(finalseg)

    def words(self, text: str) -> list[str]:
        """Return the words of `text`; together they are the text."""
        found: list[str] = []
        for i, piece in enumerate(self._blocks.split(text)):
            if i % 2:
                self._cut(piece, found)
            else:
                for j, part in enumerate(self._gaps.split(piece)):
                    found += (part,) if j % 2 else part
        return found

    def _cut(self, block: str, found: list[str]) -> None:
        """Add the words of a text of characters and Latin letters to `found`."""
        ends = self._ends(block)
        start = alone = 0  # characters from `alone` to `start` are words of their own so far
        while start < len(block):
            end = ends[start]
            if end - start > 1:
                self._regroup(block[alone:start], found)
                found.append(block[start:end])
                alone = end
            start = end
        self._regroup(block[alone:], found)

    def _regroup(self, run: str, found: list[str]) -> None:
        """Add what jieba makes of characters that the dictionary left by themselves."""
        if len(run) < 2 or self._weights.get(run):
            found += run
            return
        for i, piece in enumerate(self._chinese.split(run)):
            if i % 2:
                self._model.cut(piece, found)
            else:
                found += filter(None, self._latin.split(piece))

    def _ends(self, block: str) -> list[int]:
        """Return for each place where the first word of the likeliest way from there to the end of `block` ends."""
        known, unknown, length = self._weights.get, self._unknown, len(block)
        best, ends = [0.0] * (length + 1), [0] * length
        for start in range(length - 1, -1, -1):
            likeliest, chosen, end = -math.inf, start + 1, start + 1
            weight = known(block[start])
            while weight is not None:
                # Of equals the longest, as jieba's `max` over pairs of weight and end has it.
                if weight and weight + best[end] >= likeliest:
                    likeliest, chosen = weight + best[end], end
                end += 1
                weight = known(block[start:end]) if end <= length else None
            best[start] = unknown + best[start + 1] if likeliest == -math.inf else likeliest
            ends[start] = chosen
        return ends


class _Model:
    """jieba's model of words it does not know: each character begins, continues or ends a word, or is one."""

    def __init__(self, finalseg: Any) -> None:
        """Take over its probabilities, as logarithms."""
        never = finalseg.MIN_FLOAT
        states, trans = finalseg.emit_P, finalseg.trans_P
        self._emitted = {
            character: tuple(states[state].get(character, never) for state in "BMES")
            for character in {one for state in "BMES" for one in states[state]}
        }
        self._never = (never,) * 4
        self._start = tuple(finalseg.start_P[state] for state in "BMES")
        self._moves = tuple(trans[a][b] for a, b in ("EB", "SB", "MM", "BM", "BE", "ME", "ES", "SS"))

    def cut(self, run: str, found: list[str]) -> None:
        """Add the likeliest words of `run` to `found` (Viterbi)."""
        eb, sb, mm, bm, be, me, es, ss = self._moves
        emitted, never = self._emitted.get, self._never
        b, m, e, s = (a + c for a, c in zip(self._start, emitted(run[0], never), strict=True))
        before = []  # for each character but the first: was it E before B, B before M, B before E, E before S?
        for character in run[1:]:
            to_b, to_m, to_e, to_s = emitted(character, never)
            # In jieba's order of additions. Of equals the state whose letter is later in the alphabet.
            after_e, after_s = e + eb + to_b, s + sb + to_b
            after_b, after_m = b + bm + to_m, m + mm + to_m
            ended_b, ended_m = b + be + to_e, m + me + to_e
            single_e, single_s = e + es + to_s, s + ss + to_s
            before.append((after_e > after_s, after_b > after_m, ended_b > ended_m, single_e > single_s))
            b, m = max(after_e, after_s), max(after_b, after_m)
            e, s = max(ended_b, ended_m), max(single_e, single_s)
        words, end = [], len(run)
        state = "E" if e > s else "S"
        for place in range(len(run) - 1, 0, -1):
            from_e, from_b, ended, single = before[place - 1]
            if state in "BS":
                words.append(run[place:end])
                end = place
                state = "E" if (from_e if state == "B" else single) else "S"
            else:
                state = "B" if (from_b if state == "M" else ended) else "M"
        words.append(run[:end])
        found += reversed(words)


@functools.cache
def segmenter() -> Segmenter:
    """Return the one segmenter of this process."""
    return Segmenter()
