"""Which marks of thoughts a checkpoint uses: learned from its tokenizer and chat template, or named by its reference.

Known families of models (`thinking.KNOWN`) are recognised by any of their marks. Unknown marks are recognised by their
form and by the word in them: `<deep_thinking>`, `[REASONING]`, `<|thought_start|>`. A mark whose counterpart, the other
mark of the pair, cannot be found is unhandled: tasks that would read raw thoughts as answers are then refused.

Not here: where a thought ends in a text (`harness.engine.decoding.thinking`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from harness.checkpoints.types import Tokenizer
from harness.engine.decoding.thinking import KNOWN, Marks

NO_MARKS = "none"
"""The value of `think` in the reference of a checkpoint whose answers contain no thoughts."""
WORDED = (
    Marks("Here is my thought process:", "Here is my response:"),  # Granite 3.2
    Marks(  # Apriel
        "Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]", answer_close="[END FINAL RESPONSE]"
    ),
    Marks(  # Kimi K3
        "<|open|>think<|sep|>",
        "<|close|>think<|sep|>",
        answer_open="<|open|>response<|sep|>",
        answer_close="<|close|>response<|sep|>",
    ),
)
"""Families that are looked for only if the chat template or the tokenizer has their marks."""
_WRAPPERS = (("<answer>", "</answer>"), ("<response>", "</response>"), ("<solution>", "</solution>"))
"""Texts that some templates request around an answer, after the thought."""
_SEPARATE_MESSAGES = ("assistant/think",)
"""Marks of families that write a thought as a message of its own, so that its end looks like the end of the answer."""
_SWITCHES = {"<|think|>": "<|channel>"}
"""Texts that look like marks but only switch thinking on; the value is a mark of the family that uses the text so."""
_WORDS = r"(?:think|thought|reason|scratchpad|思考|推理|思维)"
_MARK = re.compile(
    rf"(?i:<\|?/?[\w:-]*{_WORDS}[\w:-]*\|?>)"
    rf"|\[/?[A-Z_]*(?:THINK|THOUGHT|REASON|SCRATCHPAD)[A-Z_]*\]"
    rf"|(?i:[◁【]/?[\w:-]*{_WORDS}[\w:-]*[▷】])"
)
_BEGINNING_WORDS = {"begin", "start", "open", "of", "开始"}
_ENDING_WORDS = {"end", "stop", "close", "done", "finished", "结束", "完毕", "完成"}
_UNSPACED = re.compile("(开始|结束|完毕|完成)")
"""Chinese words for beginning and end, which are written without a space beside them."""


class Learned(NamedTuple):
    """The marks of one checkpoint."""

    marks: tuple[Marks, ...]
    """The marks to look for, the checkpoint's own first."""
    unhandled: tuple[str, ...] = ()
    """Marks in the chat template whose counterpart is unknown."""
    own: tuple[Marks, ...] = ()
    """Those of `marks` that appear in the tokenizer, the chat template or the checkpoint's reference."""


def learn(tokenizer: Tokenizer, think: str | None = None) -> Learned:
    """Return the marks of thoughts that a checkpoint with `tokenizer` uses.

    `think` is the value of `think=` in the checkpoint's reference, `OPEN,CLOSE` or `none`; if it is None, the marks are
    looked for in the chat template and the tokenizer.
    """
    if think is not None:
        return Learned(named(think), own=named(think))
    template = template_text(tokenizer)
    source = _source(tokenizer)
    known = [family for family in (*KNOWN, *WORDED) if family.is_spelled_in(source)]
    other, unpaired = _pairs(source, known)
    own = [_with_wrapper(replace(family, closes_alone=True), template) for family in [*known, *other]]
    # A model without marks of its own may have been trained on those of another.
    rest = [replace(family, closes_alone=family.closes_alone and not own) for family in KNOWN if family not in known]
    separate = [text for text in _SEPARATE_MESSAGES if text in template]
    return Learned((*own, *rest), (*separate, *(text for text in unpaired if text in template)), tuple(own))


def describe(tokenizer: Tokenizer, think: str | None = None) -> str:
    """Return in words which marks of thoughts a checkpoint has, and where they were found; empty if it has none."""
    if think == NO_MARKS:
        return "none (by think=none)"
    learned = learn(tokenizer, think)
    template = template_text(tokenizer)
    lines = []
    for family in learned.own:
        is_in_template = family.is_spelled_in(template)
        source = "by think=" if think else "from the chat template" if is_in_template else "from the tokenizer's tokens"
        lines.append(f"{family} ({source})")
    lines += [f"{text!r}, whose counterpart is unknown: name both with think=START,END" for text in learned.unhandled]
    return "; ".join(lines)


def named(think: str) -> tuple[Marks, ...]:
    """Return the marks that `think` names: `OPEN,CLOSE`, or `none`."""
    if think == NO_MARKS:
        return ()
    opening, closing = think.split(",", 1)
    return (Marks(opening, closing),)


def shows(tokenizer: Tokenizer, think: str) -> bool:
    """Return whether the chat template or an added token of `tokenizer` has one of the marks that `think` names."""
    return any(family.is_spelled_in(_source(tokenizer)) for family in named(think))


def _source(tokenizer: Tokenizer) -> str:
    """Return the chat template and the added tokens of `tokenizer` as one text, in which marks are looked for."""
    return "\n".join([template_text(tokenizer), *map(str, getattr(tokenizer, "added_tokens_decoder", {}).values())])


def template_text(tokenizer: Tokenizer) -> str:
    """Return the text of the tokenizer's chat template, or of all its templates; empty if there is none."""
    template = tokenizer.chat_template
    if not template:
        return ""
    return template if isinstance(template, str) else json.dumps(template, ensure_ascii=False)


def _with_wrapper(family: Marks, template: str) -> Marks:
    """Return `family` with the texts around an answer that `template` mentions."""
    for opening, closing in _WRAPPERS:
        if not family.answer_open and opening in template and closing in template:
            return replace(family, answer_open=opening, answer_close=closing)
    return family


def _pairs(source: str, known: Sequence[Marks]) -> tuple[list[Marks], list[str]]:
    """Return the marks in `source` that are of no `known` family: complete pairs, and marks without a counterpart.

    If `source` does not contain the counterpart of a mark, the mark gets the usual counterpart, unless another mark
    could be its counterpart.
    """
    covered = {text.strip() for family in known for text in family.texts}
    covered |= {switch for switch, family_mark in _SWITCHES.items() if family_mark in source}
    marks = [text for text in dict.fromkeys(_MARK.findall(source)) if text not in covered]
    openings = [text for text in marks if not _is_closing(text)]
    closings = [text for text in marks if _is_closing(text)]
    stems = [_stem(text) for text in (*marks, *_lone_marks(source, known))]
    pairs: list[Marks] = []
    unpaired: list[str] = []
    paired: set[str] = set()
    for text in openings:
        partners = [other for other in closings if _subject(other) == _subject(text)]
        if partners:
            assumed = _counterpart(text)
            pairs.append(Marks(text, assumed if assumed and assumed in partners else partners[0]))
            paired.update([text, *partners])
    for text in marks:
        if text in paired:
            continue
        counterpart = _counterpart(text) if stems.count(_stem(text)) == 1 else None
        if counterpart is None:
            unpaired.append(text)
        else:
            pairs.append(Marks(counterpart, text) if _is_closing(text) else Marks(text, counterpart))
    return pairs, unpaired


def _lone_marks(source: str, known: Sequence[Marks]) -> list[str]:
    """Return the marks of `known` families that `source` contains without their counterparts."""
    return [
        family.open if has_open else family.close
        for family in known
        if (has_open := bool(family.beginning_pattern.search(source))) != bool(family.ending_pattern.search(source))
    ]


def _stem(text: str) -> str:
    """Return the word for thinking in the mark `text`; the whole mark if it contains none of `_WORDS`."""
    match = re.search(_WORDS, text.lower())
    return match[0] if match else text


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[\W_]+", _UNSPACED.sub(r"_\1_", text.lower())) if word]


def _subject(text: str) -> str:
    """Return the words of the mark `text` that do not say whether it begins or ends: `thought` for `</thought>`."""
    return "_".join(word for word in _words(text) if word not in _BEGINNING_WORDS | _ENDING_WORDS)


def _is_closing(text: str) -> bool:
    return "/" in text[:3] or not _ENDING_WORDS.isdisjoint(_words(text))


def _counterpart(text: str) -> str | None:
    """Return the other mark of the pair that `text` belongs to, if only a slash tells the two apart, else None."""
    if text.startswith("<|") or (_is_closing(text) and "/" not in text[:2]):
        return None
    if not _BEGINNING_WORDS.isdisjoint(_words(text)):
        return None
    return text[0] + text[2:] if text[1] == "/" else f"{text[0]}/{text[1:]}"
