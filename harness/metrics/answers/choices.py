"""Which choice an answer in words names: the extraction rules of published evaluations, each under its source's name.

Every rule is reproduced with its quirks; none is repaired here. Patterns are those of hkust-nlp/ceval@cba65ae,
code/evaluator_series/evaluators, of FudanDISC/DISC-LawLLM@f40d023, eval/src/eval.py, and of AGIEval.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence

LETTERS = ("A", "B", "C", "D")
NONE = "-"
"""What C-Eval's evaluators write where no letter is found."""

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
_CHATGPT_REASONED = (r"答案是(.+?)。", r"答案为(.+?)。", r"选项(.+?)是正确的。")
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
"""Before a pattern that begins with letters: it hits at the first of a row or nowhere, so long rows cost their length.

The last pattern takes a letter behind 属于 along, and the next hit may begin with the rest of its row.
"""


def disc_law(text: str) -> frozenset[str]:
    """Return the letters A to D that DISC-Law-Eval's `McqRegexEvaluator` reads in `text`; right are all right ones.

    Fewer than ten characters are the answer themselves; else the first hit of the first of eleven patterns that has
    any, else all hits of the first of seven that has any, else the whole text.
    """
    return frozenset(re.findall(r"[ABCD]", _disc_answer(text)))


def agieval_letters(text: str) -> frozenset[str]:
    """Return the letters A to F that AGIEval reads where an answer may name several: all capitals, wherever they stand.

    ruixiangcui/AGIEval@54887c3, src/post_process.py, `parse_qa_multiple_answer`, as it is called for JEC-QA.
    """
    return frozenset(re.findall(r"[A-F]", text))


def ceval_chatglm(text: str, options: Mapping[str, object]) -> str:
    """Return the letter that chatglm.py's `extract_cot_answer` reads in `text`, or "-".

    In this order: the last 所以答案是X。 that names a letter; the first hit of eight patterns; the only capital A to D;
    the letter of the only option, of `options` by letter, whose text occurs. minimax.py's, with seven of the patterns,
    reads the same: the eighth begins with a hit of the fifth.
    """
    text = text.strip()
    concluded = re.findall(r"所以答案是(.+?)。", text)
    if concluded and concluded[-1] in LETTERS:
        return str(concluded[-1])
    for pattern in _CHATGLM:
        if found := re.search(pattern, text):
            return found[1]
    capitals = re.findall(r"[ABCD]", text)
    if len(capitals) == 1:
        return str(capitals[0])
    named = [letter for letter in LETTERS if str(options[letter]) in text]
    return named[0] if len(named) == 1 else NONE


def ceval_chatgpt(text: str) -> str:
    """Return the letter that `text` is, or "-": all that chatgpt.py counts after few-shot examples.

    Its `exact_match`, which passes over case, ASCII punctuation and white space at the ends.
    """
    return _bare(text)


def ceval_chatgpt_zero_shot(text: str) -> str:
    """Return the letter that chatgpt.py's `extract_ans` reads in `text`, or "-": its rule without examples.

    The first character where it is a letter, else the last hit of the first of seventeen patterns that has any.
    """
    text = text.strip()
    if text[:1] in LETTERS:
        return text[0]
    return _last_of_first(_CHATGPT, text) or NONE


def ceval_chatgpt_reasoned(text: str) -> str:
    """Return the letter that chatgpt.py reads in the chain of thought `text`, or "-".

    The last hit of the first of three patterns that has any, where it is a letter but for case, spaces and ASCII
    punctuation.
    """
    return _bare(_last_of_first(_CHATGPT_REASONED, text) or "")


def ceval_llama(text: str) -> str:
    """Return what llama.py's `extract_answer_option` reads in the thought `text`, which its prompt begins, or "-".

    The first hit of the first of 31 patterns that has any, up to where the thought begins anew. It is a letter, or with
    the last four patterns whatever stands there, which counts where it is the text of the right choice. Two patterns
    keep a full stop behind their letter, which upstream then counts as wrong.
    """
    thought = re.sub(r"\n\Z", "", f"{_THOUGHT}，\n1.{text}".split(_THOUGHT)[1])
    hits = (re.search(pattern, f"{_THOUGHT}{thought}") for pattern in _LLAMA)
    return next((str(hit[1]) for hit in hits if hit), NONE)


def _disc_answer(text: str) -> str:
    if len(text) < _DISC_SHORT:
        return text
    for pattern in _DISC_FIRST:
        if hit := re.search(_from_first(pattern), text):
            return hit[1]
    for pattern in _DISC_ALL:
        if hits := re.findall(_from_first(pattern), text):
            return "".join(hits)
    return text


def _from_first(pattern: str) -> str:
    return f"{_DISC_RUN}{pattern}" if pattern.startswith("([ABCD,") else pattern


def _bare(text: str) -> str:
    """Return the letter that `text` is but for case, ASCII punctuation and white space around it, or "-"."""
    plain = "".join(letter for letter in text if letter not in string.punctuation).strip().upper()
    return plain if plain in LETTERS else NONE


def _last_of_first(patterns: Sequence[str], text: str) -> str | None:
    for pattern in patterns:
        if hits := re.findall(pattern, text):
            return str(hits[-1])
    return None
