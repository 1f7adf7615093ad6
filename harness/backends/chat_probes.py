"""What is wrong with a chat template, found by rendering conversations and looking for their words in the result.

A template may drop thoughts from earlier answers, strip white space around a text, or put the system turn into the
first question. It is wrong if words of a turn are missing, repeated or misplaced, or if an earlier answer is not
written as an answer.

Not here: what follows from the findings (`harness.runs.checks`, `harness.backends.conversations`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from harness.backends.chat import ChatTemplate, Turn, UnusableTemplateError

_LINES = 600
"""Number of lines of a turn in a probe; a template that shortens texts writes fewer lines."""
_EXCHANGES = 40
"""Number of questions with answers in a long conversation: more than few-shot prompts have."""
_CHARACTERS = ("<", ">", "&", '"', "'", "\\", "  ", "\n\n", "\t", "{{", "%}", "½", "É", "，", "🙂")
"""Characters that templates escape, collapse or lose."""


class Findings(NamedTuple):
    """What the probes have found; most texts are the end of a sentence about the template, or empty if all is well."""

    question: str = ""
    """How the template spoils a question."""
    characters: str = ""
    """Which characters of a question the template changes."""
    history: str = ""
    """How the template spoils a conversation of several turns."""
    missing_lead: str = ""
    """The text before an answer, if prompts lack this text because the template ignores `add_generation_prompt`."""
    writes_date: bool = False
    """Whether prompts contain today's date."""
    own_system: str = ""
    """The text of the system turn that the template adds to a conversation without one."""


def probe(template: ChatTemplate) -> Findings:
    """Return what is wrong with `template`. Raises UnusableTemplateError if it cannot render a single question."""
    question = _turn("user", "Q")
    text = template.render([question])
    history = _history(template)
    return Findings(
        question=_misplaced(text, [question]),
        characters=_changed_characters(template),
        history=history,
        missing_lead="" if history else _missing_lead(template),
        # A text in place of the function that returns the date fails where the function is called.
        writes_date=text != _render(template, [question], strftime_now=""),
        own_system=_own_system(template),
    )


def has_all(text: str, contents: Sequence[str]) -> bool:
    """Return whether `text` has all `contents`, in order, ignoring the white space around them."""
    place = 0
    for content in map(str.strip, contents):
        start = text.find(content, place)
        if start < 0:
            return False
        place = start + len(content)
    return True


def _turn(role: str, label: str, lines: int = _LINES) -> Turn:
    return {"role": role, "content": "\n".join(f"{label}第{line}x" for line in range(lines))}


def _misplaced(text: str, turns: Sequence[Turn]) -> str:
    """Return how the rendered `text` spoils `turns`: it drops, shortens or repeats a turn, or changes the order."""
    contents = [turn["content"] for turn in turns]
    for turn, content in zip(turns, contents, strict=True):
        noun = {"user": "a question", "assistant": "an earlier answer"}[turn["role"]]
        first, last = content.split("\n")[0], content.split("\n")[-1]
        if content not in text:
            is_partial = any(line.lower() in text.lower() for line in (first, last))
            return f"{'shortens or changes' if is_partial else 'leaves out'} {noun}"
        if text.count(content) > 1:
            return f"repeats {noun}"
    places = [text.index(content) for content in contents]
    return "" if places == sorted(places) else "changes the order of turns"


def _changed_characters(template: ChatTemplate) -> str:
    """Return in words which characters of a question `template` changes, and into what; empty if it changes none."""
    content = "".join(f"b{i}c{character}d{i}f" for i, character in enumerate(_CHARACTERS))
    text = _render(template, [{"role": "user", "content": content}])
    if content in text:
        return ""
    written = [text.partition(f"b{i}c")[2].partition(f"d{i}f")[0] for i in range(len(_CHARACTERS))]
    changes = [
        f"{character!r} as {other!r}"
        for character, other in zip(_CHARACTERS, written, strict=True)
        if character != other
    ]
    return f"writes {', '.join(changes)}" if changes else ""


def _history(template: ChatTemplate) -> str:
    turns = [_turn("user", "Q"), _turn("assistant", "A"), _turn("user", "R")]
    try:
        text = template.render(turns)
    except UnusableTemplateError as error:
        return f"takes no earlier answers ({error.__cause__ or error})"
    if problem := _misplaced(text, turns) or _unlike_answers(template, text, turns):
        return problem
    exchanges = [_turn(("user", "assistant")[i % 2], f"{'QA'[i % 2]}{i}n", 2) for i in range(2 * _EXCHANGES + 1)]
    problem = _misplaced(_render(template, exchanges), exchanges)
    return f"{problem} of a long conversation" if problem else ""


def _unlike_answers(template: ChatTemplate, text: str, turns: Sequence[Turn]) -> str:
    """Return how the earlier answer in `text` differs from what an answer looks like; empty if it looks like one."""
    question, answer, last = (turn["content"] for turn in turns)
    before_question, _, rest = text.partition(question)
    before_answer, _, rest = rest.partition(answer)
    before_last, _, _ = rest.partition(last)
    if any(family.is_open(before_answer) for family in template.marks):
        return "writes an earlier answer into a thought that it leaves open"
    has_headers = bool(before_question.replace(str(template.tokenizer.bos_token), "").strip())
    if has_headers and template.tail.strip() and not before_answer.strip():
        return f"writes an earlier answer without {template.tail.strip()!r}, which begins an answer"
    is_question = before_answer.strip() == before_last.strip() != template.tail.strip()
    if has_headers and is_question and before_last.strip():
        return "writes an earlier answer as if it were a question"
    return ""


def _own_system(template: ChatTemplate) -> str:
    """Return the text that the template writes in place of a system turn's text if a conversation has no such turn."""
    question, system = _turn("user", "Q"), _turn("system", "S")
    before, is_written, after = _render(template, [system, question]).partition(system["content"])
    text = _render(template, [question])
    if not is_written or not (text.startswith(before) and text.endswith(after)):
        return ""
    return text[len(before) : max(len(before), len(text) - len(after))].strip()


def _missing_lead(template: ChatTemplate) -> str:
    """Return the text that the template writes before earlier answers but not at the end of prompts; empty if none."""
    question = [{"role": "user", "content": "Q7f3a"}]
    without = _render(template, question, add_generation_prompt=False, continue_final_message=False)
    lead = template.lead.strip()
    if without != _render(template, question) or not lead or lead in template.tail:
        return ""
    return lead.removeprefix(template.tail.strip()).strip()


def _render(template: ChatTemplate, turns: Sequence[Turn], **variables: Any) -> str:
    """Return the conversation as text, or an empty text if it cannot be rendered."""
    try:
        return template.render(turns, **variables)
    except UnusableTemplateError:
        return ""
