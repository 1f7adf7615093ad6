"""The letter that an answer in words names: extraction rules of published evaluations, named after their sources.

Every rule is reproduced with its quirks; none is repaired here. The patterns are those of hkust-nlp/ceval@cba65ae
(code/evaluator_series/evaluators), FudanDISC/DISC-LawLLM@f40d023 (eval/src/eval.py) and AGIEval.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence

LETTERS = ("A", "B", "C", "D")
NONE = "-"
"""What C-Eval's evaluators return if they find no letter."""

_CHATGLM = (
    r"([ABCD])是正确的",
    r"选项([ABCD])正确",
    r"答案为([ABCD])",
    r"答案是([ABCD])",
    r"答案([ABCD])",
    r"选择([ABCD])",
    r"答案：([ABCD])",
    r"选择答案([ABCD])",
)
_CHATGPT = (
    r"^选([A-D])",
    r"^选项([A-D])",
    r"答案是\s?选?项?\s?([A-D])",
    r"答案为\s?选?项?\s?([A-D])",
    r"答案应为\s?选?项?\s?([A-D])",
    r"答案选\s?选?项?\s?([A-D])",
    r"答案是:\s?选?项?\s?([A-D])",
    r"答案应该是:\s?选?项?\s?([A-D])",
    r"正确的一项是\s?([A-D])",
    r"答案为:\s?选?项?\s?([A-D])",
    r"答案应为:\s?选?项?\s?([A-D])",
    r"答案:\s?选?项?\s?([A-D])",
    r"答案是：\s?选?项?\s?([A-D])",
    r"答案应该是：\s?选?项?\s?([A-D])",
    r"答案为：\s?选?项?\s?([A-D])",
    r"答案应为：\s?选?项?\s?([A-D])",
    r"答案：\s?选?项?\s?([A-D])",
)
_LLAMA = (
    r"答案是?\s?([ABCD])",
    r"答案是?\s?：([ABCD])",
    r"答案是?\s?:([ABCD])",
    r"答案应该?是\s?([ABCD])",
    r"答案应该?选\s?([ABCD])",
    r"答案为\s?([ABCD])",
    r"选择\s?([ABCD])",
    r"只有选?项?\s?([ABCD])\s?是?对",
    r"只有选?项?\s?([ABCD])\s?是?错",
    r"只有选?项?\s?([ABCD])\s?不?正确",
    r"只有选?项?\s?([ABCD])\s?错误",
    r"说法不?对选?项?的?是\s?([ABCD])",
    r"说法不?正确选?项?的?是\s?([ABCD])",
    r"说法错误选?项?的?是\s?([ABCD])",
    r"([ABCD])\s?是正确的",
    r"([ABCD])\s?是正确答案",
    r"选项\s?([ABCD])\s?正确",
    r"所以答\s?([ABCD])",
    r"1.\s?([ABCD])[.。$]?$",
    r"所以\s?([ABCD][.。$]?$)",
    r"所有\s?([ABCD][.。$]?$)",
    r"[\s，：:,]([ABCD])[。，,\.]?$",
    r"[\s，,：:][故即]([ABCD])[。\.]?$",
    r"[\s，,：:]因此([ABCD])[。\.]?$",
    r"[是为。]\s?([ABCD])[。\.]?$",
    r"因此\s?([ABCD])[。\.]?$",
    r"显然\s?([ABCD])[。\.]?$",
    r"1.\s?(.*?)$",
    r"答案是\s?(\S+)(?:。|$)",
    r"答案应该是\s?(\S+)(?:。|$)",
    r"答案为\s?(\S+)(?:。|$)",
)
_THOUGHT = "让我们一步一步思考"
_CHATGPT_REASONED = (("答案是", "。"), ("答案为", "。"), ("选项", "是正确的。"))
"""The texts before and after the part that each of chatgpt.py's three patterns reads, as in 答案是(.+?)。"""
_DISC_FIRST = (
    r"答案应?该?[为是]([ABCD,，、\s]+)",
    r"答案是([ABCD,，、\s]+)",
    r"选项应?该?[是为]([ABCD,，\s、]+)",
    r"答案([ABCD,，、\s]+)",
    r"答案应该?选\s?([ABCD,，、\s]+)",
    r"选择([ABCD,，、\s]+)",
    r"故?选[:：]?([ABCD,，、\s]+)",
    r"选择答案([ABCD,，\s、]+)",
    r"^\s*选([ABCD,，、\s]+)[,，项．\.]",
    r"([ABCD,，、\s]+)</s>",
    r"^([ABCD,，、\s]+)。",
)
_DISC_ALL = (
    r"([ABCD][\.．])\s?",
    r"([ABCD,，、\s]+)都?是正确的",
    r"选项([ABCD,，\s、]+)正确",
    r"([ABCD,，、\s]+)选项正确",
    r"([ABCD,，、\s]+)\s?都?[是为]正确答案",
    r"([ABCD,，、\s]+)\s?都?[是为]正确选项",
    r"([ABCD,，、\s]+)\s?选?项?都?属于[^错不]",
)
_DISC_SHORT = 10
_DISC_RUN = r"(?:(?<![ABCD,，、\s])|(?<=属于[ABCD,，、\s]))"
"""Prefix for patterns that begin with letters: it lets a match start only at the first letter of a row of letters.

Without the prefix, a row of n letters that leads to no match takes time n². After 属于, a match may start one letter
further on, because the last pattern consumes the first letter after 属于.
"""


def disc_law(text: str) -> frozenset[str]:
    """Return the letters A to D that DISC-Law-Eval's `McqRegexEvaluator` reads in `text`.

    The letters are those in a part of `text`: all of `text` if it is shorter than ten characters; else the first match
    of the first of eleven patterns that matches; else all matches of the first of seven patterns that matches; else all
    of `text`.
    """
    return frozenset(re.findall(r"[ABCD]", _disc_answer(text)))


def agieval_letters(text: str) -> frozenset[str]:
    """Return the letters A to F that AGIEval reads in an answer that may name several: all capitals, anywhere.

    ruixiangcui/AGIEval@54887c3, src/post_process.py, `parse_qa_multiple_answer`, as it is called for JEC-QA.
    """
    return frozenset(re.findall(r"[A-F]", text))


def ceval_chatglm(text: str, options: Mapping[str, object]) -> str:
    """Return the letter that `extract_cot_answer` of C-Eval's chatglm.py reads in `text`, or "-" if it finds none.

    It is the first of these that applies: the last 所以答案是X。, if X is a letter; the first match of the first of
    eight patterns that matches; the only capital A to D in `text`; the letter of the only option whose text occurs in
    `text` (`options` maps letters to texts). C-Eval's minimax.py has seven of the eight patterns and reads the same
    letters, because every match of the eighth pattern contains a match of the fifth.
    """
    text = text.strip()
    concluded = _framed("所以答案是", "。", text)
    if concluded and concluded[-1] in LETTERS:
        return str(concluded[-1])
    for pattern in _CHATGLM:
        if match := re.search(pattern, text):
            return match[1]
    capitals = re.findall(r"[ABCD]", text)
    if len(capitals) == 1:
        return str(capitals[0])
    named = [letter for letter in LETTERS if str(options[letter]) in text]
    return named[0] if len(named) == 1 else NONE


def ceval_chatgpt(text: str) -> str:
    """Return the letter that `text` consists of, or "-" if it is no single letter.

    This is the rule of C-Eval's chatgpt.py for answers to prompts with few-shot examples: its `exact_match`, which
    ignores case, ASCII punctuation, and white space at the ends.
    """
    return _bare(text)


def ceval_chatgpt_zero_shot(text: str) -> str:
    """Return the letter that `extract_ans` of C-Eval's chatgpt.py reads in `text`, or "-" if it finds none.

    This is the rule for answers to prompts without few-shot examples. The letter is the first character of `text` if
    that is a letter, else the last match of the first of seventeen patterns that matches.
    """
    text = text.strip()
    if text[:1] in LETTERS:
        return text[0]
    return _last_match(_CHATGPT, text) or NONE


def ceval_chatgpt_reasoned(text: str) -> str:
    """Return the letter that C-Eval's chatgpt.py reads in the chain of thought `text`, or "-" if it finds none.

    Three patterns are tried in order, and the first one found in `text` decides: its last match is the answer if that
    match is a single letter. Case, white space at the ends and ASCII punctuation are ignored.
    """
    every = (_framed(start, end, text) for start, end in _CHATGPT_REASONED)
    return _bare(next((matches[-1] for matches in every if matches), ""))


def ceval_llama(text: str) -> str:
    """Return what `extract_answer_option` of C-Eval's llama.py reads in the chain of thought `text`, or "-".

    The prompt gives the opening words of the thought; `text` is read up to where these words occur again. The result is
    the first match of the first of 31 patterns that matches. It is a letter or, for the last four patterns, any text,
    which is right if it is the text of the right choice. Two patterns include a full stop after the letter, so that
    upstream counts such an answer as wrong.
    """
    _, thought, *others = f"{_THOUGHT}，\n1.{text}".split(_THOUGHT)
    if not others:  # upstream's `$` stands before a line end at the end of the whole text
        thought = thought.removesuffix("\n")
    matches = (re.search(pattern, f"{_THOUGHT}{thought}") for pattern in _LLAMA)
    return next((str(match[1]) for match in matches if match), NONE)


def _disc_answer(text: str) -> str:
    """Return the part of `text` in which `disc_law` looks for letters."""
    if len(text) < _DISC_SHORT:
        return text
    for pattern in _DISC_FIRST:
        if match := re.search(_from_row_start(pattern), text):
            return match[1]
    for pattern in _DISC_ALL:
        if matches := re.findall(_from_row_start(pattern), text):
            return "".join(matches)
    return text


def _from_row_start(pattern: str) -> str:
    return f"{_DISC_RUN}{pattern}" if pattern.startswith("([ABCD,") else pattern


def _framed(start: str, end: str, text: str) -> list[str]:
    """Return what `re.findall` finds with the pattern `start(.+?)end`, in time linear in the text.

    By itself, the pattern would search the rest of the line for `end` at every `start`. So each line is cut after its
    last `end`; nothing after that can match.
    """
    pattern = re.compile(f"{re.escape(start)}(.+?){re.escape(end)}")
    matches: list[str] = []
    for line in text.split("\n"):
        head, last, _ = line.rpartition(end)
        matches += pattern.findall(head + last)
    return matches


def _bare(text: str) -> str:
    """Return `text` in upper case without ASCII punctuation and outer white space if that is a letter, else "-"."""
    plain = "".join(letter for letter in text if letter not in string.punctuation).strip().upper()
    return plain if plain in LETTERS else NONE


def _last_match(patterns: Sequence[str], text: str) -> str | None:
    """Return the last match of the first of `patterns` that matches, or None."""
    for pattern in patterns:
        if matches := re.findall(pattern, text):
            return str(matches[-1])
    return None
