"""Word segmentation: the words of jieba 0.42.1's `lcut`, in time proportional to the length of the text.

jieba does all of the work except one step. Where its dictionary leaves single characters, jieba's hidden Markov model
joins them into words, and its Viterbi search (`jieba.finalseg.viterbi`) copies the whole path at every character, so
that the time grows with the square of the number of such characters. A model that repeats one character writes such
runs: 的 repeated 8,000, 32,000 and 128,000 times takes jieba 0.5, 8 and 166 seconds, and this module 0.2, 0.8 and 3. So
this module cuts the runs itself, with jieba's probabilities, additions and tie rule. The dictionary, its search
(`get_DAG`, `calc`) and the patterns are jieba's, and ordinary text takes the same time as in jieba.

Words that a program adds to jieba are ignored, because scores must not depend on them.
"""

from __future__ import annotations

import functools
import logging
from typing import Any


def words(text: str) -> list[str]:
    """Return the words of `text`, white space and punctuation included; joined, these words are `text` again."""
    import jieba

    result: list[str] = []
    for i, block in enumerate(jieba.re_han_default.split(text)):
        if i % 2:  # the pattern has one group: every second part is a match
            result += _block_words(block)
        else:
            for j, gap in enumerate(jieba.re_skip_default.split(block)):
                result += [gap] if j % 2 else gap
    return result


def load() -> None:
    """Load jieba's dictionary now, which takes about a second."""
    _dictionary()


@functools.cache
def _dictionary() -> Any:
    """Return a tokenizer with jieba's own dictionary, and none of the words added to `jieba.dt`."""
    import jieba

    jieba.setLogLevel(logging.WARNING)  # it reports on standard error that it loads its dictionary
    dictionary = jieba.Tokenizer()
    dictionary.initialize()
    return dictionary


def _block_words(block: str) -> list[str]:
    """Return the words of a text of Chinese characters, Latin letters and digits, as jieba's `Tokenizer.__cut_DAG`."""
    dictionary = _dictionary()
    route: dict[int, tuple[float, int]] = {}  # for each start: weight of the best path, last character of its word
    dictionary.calc(block, dictionary.get_DAG(block), route)
    result: list[str] = []
    start = run_start = 0  # characters from `run_start` to `start` are single so far
    while start < len(block):
        end = route[start][1] + 1
        if end - start > 1:
            result += _run_words(block[run_start:start])
            result.append(block[start:end])
            run_start = end
        start = end
    return result + _run_words(block[run_start:])


def _run_words(run: str) -> list[str]:
    """Return the words of a run of characters that the best path through jieba's dictionary leaves single."""
    from jieba import finalseg

    if len(run) < 2 or _dictionary().FREQ.get(run):
        return list(run)
    result: list[str] = []
    for i, part in enumerate(finalseg.re_han.split(run)):
        if i % 2:
            result += _unknown_words(part)
        else:
            result += filter(None, finalseg.re_skip.split(part))
    return result


def _unknown_words(run: str) -> list[str]:
    """Return the most likely words of Chinese characters: jieba's `finalseg.cut` with pointers instead of copied paths.

    Each character begins (B), continues (M) or ends (E) a word, or is a word by itself (S).
    """
    from jieba.finalseg import MIN_FLOAT, PrevStatus, emit_P, start_P, trans_P

    scores = {state: start_P[state] + emit_P[state].get(run[0], MIN_FLOAT) for state in "BMES"}
    pointers: list[dict[str, str]] = []  # for each character but the first: the best state before each state
    for character in run[1:]:
        best_scores, best_before = {}, {}
        for state in "BMES":
            emission = emit_P[state].get(character, MIN_FLOAT)
            # `max` over pairs as in jieba: of equal scores the later letter wins.
            best_scores[state], best_before[state] = max(
                (scores[before] + trans_P[before].get(state, MIN_FLOAT) + emission, before)
                for before in PrevStatus[state]
            )
        scores = best_scores
        pointers.append(best_before)
    state = max("ES", key=lambda last: (scores[last], last))
    result: list[str] = []
    end = len(run)
    for place in range(len(run) - 1, 0, -1):
        if state in "BS":
            result.append(run[place:end])
            end = place
        state = pointers[place - 1][state]
    return [run[:end], *reversed(result)]
