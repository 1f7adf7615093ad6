"""A person's own test set: which columns hold questions and answers, and how they are asked and compared.

Recognised are question and answer, multiple choice (a list, or columns A, B, C …), alpaca, ShareGPT and OpenAI
conversations, ADGEN, and pairs such as prompt and completion. All rows of a file have the layout of its first.

Texts that a model is tuned on as they are (alpaca, conversations, ADGEN, pairs) are asked as they are, instruction and
input joined by a line end as LLaMA-Factory does. A bare question gets a cue, and choices get letters as in C-Eval and
MMLU, in the language of the file.

Not here: reading files (`harness.file_rows`), the task made of all this (`harness.file_tasks`), or computing metrics
(`harness.metrics.generation`).
"""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from harness import file_rows
from harness.errors import HarnessError
from harness.metrics.numbers import last_number

COMPARISONS = ("exact_match", "contains", "number", "rouge", "bleu")
"""What --metric takes."""
_QUESTIONS = ("question", "query", "problem", "问题", "题目", "题干")
_ANSWERS = ("answer", "answers", "answerKey", "response", "reference", "target", "label", "gold", "答案")
_CHOICES = ("choices", "options", "选项")
_CONTEXTS = ("context", "passage")
_PROMPTS = ("prompt", "input", "query")
_COMPLETIONS = ("completion", "response", "output", "target", "answer")
_CONVERSATIONS = ("conversations", "messages")
_KNOWN = (
    "question + answer, question + choices (or A, B, C, D) + answer, instruction + output, conversations, messages, "
    "content + summary, prompt + completion"
)
_ROLES = {
    **dict.fromkeys(("system",), "system"),
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatglm", "bot", "model"), "assistant"),
}


@dataclass(frozen=True)
class Questions:
    """A test set: what is asked of a checkpoint, row by row, and how its answers are compared."""

    documents: list[dict[str, Any]]
    """`prompt` and `answer` each; `letters` where one is chosen, else all accepted `answers`; `turns`, roles and
    contents, where a conversation may lead up to the answer."""
    columns: tuple[str, ...]
    """Those that were read."""
    metrics: tuple[str, ...]
    """`acc`, or names of `harness.metrics.generation.METRICS`."""
    delimiter: str
    """Between prompt and answer."""
    stops: tuple[str, ...]

    @property
    def chooses(self) -> bool:
        """Tell whether a letter is chosen rather than a text written."""
        return self.metrics == ("acc",)

    @property
    def converses(self) -> bool:
        """Tell whether more than a question leads up to some answer."""
        return any(len(one.get("turns", ())) > 1 for one in self.documents)


class _Layout(NamedTuple):
    columns: tuple[str, ...]
    document: Callable[[Row], dict[str, Any]]
    cued: bool = False
    metrics: tuple[str, ...] = ()
    """Those it is compared by unless told otherwise."""


class Row:
    """A row that says where it stands when something is missing."""

    def __init__(self, row: file_rows.Row) -> None:
        self.where, self._columns = row

    def wrong(self, what: str) -> HarnessError:
        """Return the complaint that `what` is wrong here."""
        return HarnessError(f"{self.where}: {what}: correct or remove it")

    def names(self) -> list[str]:
        """Return the columns in which the row has something."""
        return [name for name, value in self._columns.items() if value is not None]

    def get(self, column: str) -> Any:
        """Return what the row has in `column`, None if nothing."""
        return self._columns.get(column)

    def text(self, column: str, *, needed: bool = True) -> str:
        """Return the text, or the number as text, in `column`; raise HarnessError if it is `needed` and not there."""
        value = self.get(column)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            value = str(value)
        if value is not None and not isinstance(value, str):
            raise self.wrong(f"'{column}' is no text")
        if needed and not (value or "").strip():
            raise self.wrong(f"'{column}' is missing or empty")
        return value or ""

    def texts(self, column: str) -> list[str]:
        """Return the text, or the several texts, in `column`."""
        value = self.get(column)
        if not isinstance(value, list):
            return [self.text(column)]
        if not value or not all(isinstance(one, str) and one.strip() for one in value):
            raise self.wrong(f"'{column}' holds no texts, or empty ones")
        return list(value)


def read(file: Path, comparisons: Sequence[str] = ()) -> Questions:
    """Return the test set in `file`, its answers compared by `comparisons` or, where it is clear, by what fits them.

    Choices are compared by accuracy alone.

    Raises HarnessError naming the file, the line and what is wrong there, or the choice that a person has to make.
    """
    rows = [Row(row) for row in file_rows.rows(file)]
    if not rows:
        raise HarnessError(f"{file} holds no rows: there is nothing to ask")
    layout = _recognised(file, rows[0])
    documents = [layout.document(row) for row in rows]
    chinese = 2 * sum(_is_chinese(one["prompt"]) for one in documents) > len(documents)
    if "letters" in documents[0]:
        return _choosing(file, documents, layout.columns, chinese)
    chosen = tuple(comparisons) or layout.metrics or _evident(file, documents)
    for name in chosen:
        if name not in COMPARISONS:
            raise HarnessError(f"{file}: there is no --metric {name} for answers in words: choose among {_named()}")
    if "number" in chosen:
        _require_numbers(rows, documents)
    return _answering(documents, layout, chosen, chinese)


def _recognised(file: Path, row: Row) -> _Layout:
    """Return the layout that a file's first row has."""
    if talk := _first(row, _CONVERSATIONS):
        return _Layout((talk,), lambda row: _conversation(row, talk))
    instruction, output = _first(row, ("instruction",)), _first(row, ("output", "response", "answer"))
    if instruction and output:
        columns = (instruction, _first(row, ("input",)) or "input", output)
        return _Layout(columns, lambda row: _instruction(row, columns))
    content, summary = _first(row, ("content",)), _first(row, ("summary",))
    if content and summary:
        scored = ("rouge", "bleu")  # as ChatGLM-6B's ptuning/main.py does
        return _Layout((content, summary), lambda row: _pair(row, (content,), summary), metrics=scored)
    question, answer = _first(row, _QUESTIONS), _first(row, _ANSWERS)
    context = _first(row, _CONTEXTS)
    before = (context,) if context else ()
    if question and answer:
        if choices := _choice_columns(row):
            listed = choices[0] if choices[0] != "A" else ""
            columns = (*before, question, *choices, answer)
            return _Layout(columns, lambda row: _choice(row, (*before, question), listed, answer))
        return _Layout((*before, question, answer), lambda row: _pair(row, (*before, question), answer), cued=True)
    prompt = _first(row, _PROMPTS)
    completion = _first(row, tuple(name for name in _COMPLETIONS if name != prompt))
    if prompt and completion:
        return _Layout((prompt, completion), lambda row: _pair(row, (prompt,), completion))
    raise HarnessError(
        f"{row.where}: no known layout in the columns {', '.join(row.names())}: rename them, known are {_KNOWN}; or "
        "write a definition ('harness tasks new NAME')"
    )


def _first(row: Row, names: Iterable[str]) -> str:
    """Return the column of the first of `names` that the row has, whatever the case of its letters."""
    there = {name.lower(): name for name in row.names()}
    return next((there[name.lower()] for name in names if name.lower() in there), "")


def _choice_columns(row: Row) -> tuple[str, ...]:
    """Return the column that lists a row's choices, or those from A on that hold one each; none if it has none."""
    if listed := _first(row, _CHOICES):
        return (listed,)
    lettered = tuple(letter for letter in string.ascii_uppercase if letter in row.names())
    return lettered if lettered[:2] == ("A", "B") else ()


def _pair(row: Row, asked: Sequence[str], answer: str) -> dict[str, Any]:
    if _choice_columns(row):
        raise row.wrong("it has choices, which the first row has not")
    return _answered("\n".join(row.text(column) for column in asked), row.texts(answer))


def _answered(prompt: str, answers: list[str]) -> dict[str, Any]:
    return {"prompt": prompt, "answer": answers[0], "answers": answers}


# --- conversations ----------------------------------------------------------------------------------------------------


def _instruction(row: Row, columns: tuple[str, str, str]) -> dict[str, Any]:
    """Return what an alpaca row asks, after its `system` and its `history` of questions and answers, if it has any."""
    instruction, given, output = columns
    question = "\n".join(text for text in (row.text(instruction), row.text(given, needed=False)) if text)
    history = row.get("history") or []
    if not isinstance(history, list) or not all(_is_exchange(one) for one in history):
        raise row.wrong("'history' is no list of questions and answers")
    turns = [_said(role, text) for pair in history for role, text in zip(("user", "assistant"), pair, strict=True)]
    return _led_up_to(row, [*turns, _said("user", question)], row.texts(output))


def _is_exchange(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(text, str) for text in value)


def _said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _led_up_to(row: Row, turns: list[dict[str, str]], answers: list[str]) -> dict[str, Any]:
    """Return the document of an answer after `turns`, a row's system prompt first."""
    if system := row.text("system", needed=False).strip():
        turns = [_said("system", system), *turns]
    return {**_answered("\n".join(turn["content"] for turn in turns), answers), "turns": turns}


def _conversation(row: Row, column: str) -> dict[str, Any]:
    """Return the last answer of a conversation, and all that leads up to it."""
    listed = row.get(column)
    turns = [_turn(row, column, one) for one in (listed if isinstance(listed, list) else [])]
    if [turn["role"] for turn in turns[-2:]] != ["user", "assistant"]:
        raise row.wrong(f"'{column}' does not end with a question and its answer")
    return _led_up_to(row, turns[:-1], [turns[-1]["content"]])


def _turn(row: Row, column: str, said: Any) -> dict[str, str]:
    if not isinstance(said, Mapping):
        raise row.wrong(f"'{column}' holds what is no turn")
    role, content = said.get("from", said.get("role")), said.get("value", said.get("content"))
    if role not in _ROLES or not isinstance(content, str) or not content.strip():
        raise row.wrong(f"'{column}' holds a turn without text, or of a role ({role}) other than {', '.join(_ROLES)}")
    return _said(_ROLES[role], content)


# --- multiple choice --------------------------------------------------------------------------------------------------


def _choice(row: Row, asked: Sequence[str], listed: str, answer: str) -> dict[str, Any]:
    labels, choices = _choices(row, listed)
    letters = list(string.ascii_uppercase[: len(choices)])
    lines = [*(row.text(column) for column in asked), *map("{}. {}".format, letters, choices)]
    place, counted = _place(row, answer, labels, choices)
    return {"prompt": "\n".join(lines), "letters": letters, "answer": place, "counted": counted}


def _choices(row: Row, listed: str) -> tuple[list[str], list[str]]:
    """Return the labels by which a row's answer may name its choices, and the choices."""
    given = row.get(listed) if listed else {x: row.get(x) for x in string.ascii_uppercase if row.get(x)}
    if isinstance(given, Mapping) and isinstance(given.get("text"), list) and isinstance(given.get("label"), list):
        given = dict(zip(given["label"], given["text"], strict=False))
    labels = [str(label) for label in given] if isinstance(given, Mapping) else []
    values = list(given.values()) if isinstance(given, Mapping) else given
    if not isinstance(values, list) or not 2 <= len(values) <= len(string.ascii_uppercase):
        raise row.wrong(f"'{listed or 'A, B, …'}' is no list of 2 to 26 choices")
    if not all(isinstance(one, str | int | float) and str(one).strip() for one in values):
        raise row.wrong(f"'{listed or 'A, B, …'}' holds an empty choice, or one that is no text")
    choices = [str(one).strip() for one in values]
    letters = list(string.ascii_uppercase[: len(choices)])
    begun = [re.match(r"([A-Z])\s*[.．、:：)）]\s*(?=\S)", one) for one in choices]
    if all(begun) and [match[1] for match in begun if match] == letters:  # "A. 巴黎": a letter is not said twice
        choices = [one[match.end() :] for one, match in zip(choices, begun, strict=True) if match]
    return labels or letters, choices


def _place(row: Row, column: str, labels: Sequence[str], choices: Sequence[str]) -> tuple[int, bool]:
    """Return the place of the right choice, named by its label, its text, or its place from 0; and whether so."""
    given = row.get(column)
    if isinstance(given, list) and len(given) == 1:
        given = given[0]
    if isinstance(given, float) and given.is_integer():  # what a table makes of whole numbers beside an empty cell
        given = int(given)
    if isinstance(given, bool) or not isinstance(given, str | int):
        raise row.wrong(f"'{column}' does not name one choice")
    said = str(given).strip()
    named = {i for names in (labels, choices) for i, one in enumerate(names) if one == said}
    named = named or _loosely(said, labels, choices)
    counted = not named and said.isdecimal()
    if counted and int(said) < len(choices):
        named = {int(said)}
    if len(named) != 1:
        is_not = "is more than" if named else "is not"
        hint = ", counted from 0" if counted else ""
        raise row.wrong(f"'{column}' is '{said[:50]}', which {is_not} one of its {len(choices)} choices{hint}")
    return named.pop(), counted


def _loosely(said: str, labels: Sequence[str], choices: Sequence[str]) -> set[int]:
    """Return the places that `said` names by a letter in brackets, small or full-width, or as "B. its text"."""
    plain = unicodedata.normalize("NFKC", said)
    letter = re.fullmatch(r"[(\[]?([A-Za-z])[)\].、]?", plain)
    pairs = enumerate(zip(labels, choices, strict=True))
    return {i for i, (label, text) in pairs if said == f"{label}. {text}" or (letter and letter[1].upper() == label)}


def _choosing(file: Path, documents: Sequence[dict[str, Any]], columns: tuple[str, ...], chinese: bool) -> Questions:
    counted = [one["answer"] for one in documents if one["counted"]]
    if counted and 0 not in counted:
        raise HarnessError(
            f"{file}: its answers count the choices but never say 0, so they may count from 1: name them by letters"
        )
    cue, delimiter = ("答案：", "") if chinese else ("Answer:", " ")
    asked = [
        {"prompt": f"{one['prompt']}\n{cue}", "letters": one["letters"], "answer": one["answer"]} for one in documents
    ]
    return Questions(asked, columns, ("acc",), delimiter, ())


# --- answers in words -------------------------------------------------------------------------------------------------


def _answering(
    documents: Sequence[dict[str, Any]], layout: _Layout, comparisons: Sequence[str], chinese: bool
) -> Questions:
    rouge = ("rouge1_jieba", "rouge2_jieba", "rougeL_jieba") if chinese else ("rouge1", "rouge2", "rougeL")
    spelled = {"rouge": rouge, "bleu": ("bleu4_characters",)}
    metrics = tuple(dict.fromkeys(name for one in comparisons for name in spelled.get(one, (one,))))
    if not layout.cued:
        return Questions(list(documents), layout.columns, metrics, "\n", ())
    question, answer, delimiter = ("问题：", "答案：", "") if chinese else ("Question: ", "Answer:", " ")
    one_line = "exact_match" in comparisons and not any("\n" in text for one in documents for text in one["answers"])
    asked = [{**one, "prompt": f"{question}{one['prompt']}\n{answer}"} for one in documents]
    stops = ("\n",) if one_line else (f"\n{question.strip()}",)
    return Questions(asked, layout.columns, metrics, delimiter, stops)


def _evident(file: Path, documents: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """Return how answers are compared where nobody said so: as numbers if they are all nothing else."""
    if all(re.fullmatch(r"[-+−]?[\d.,/\s]*\d%?", text.strip()) for one in documents for text in one["answers"]):
        return ("number",)
    raise HarnessError(f"{file} has answers in words: say how they are compared, with --metric {_named()}")


def _require_numbers(rows: Sequence[Row], documents: Sequence[dict[str, Any]]) -> None:
    for row, document in zip(rows, documents, strict=True):
        for text in document["answers"]:
            if last_number(text) is None:
                raise row.wrong(f"its answer '{text[:50]}' holds no number, which --metric number compares")


def _named() -> str:
    return f"{', '.join(COMPARISONS[:-1])} or {COMPARISONS[-1]}"


def _is_chinese(text: str) -> bool:
    return any("\u4e00" <= letter <= "\u9fff" for letter in text)
