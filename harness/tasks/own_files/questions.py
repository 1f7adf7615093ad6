"""A person's own test set: which columns hold questions and answers, and how they are asked and compared.

Recognised are question and answer, multiple choice (a list, or columns A, B, C …), alpaca, ShareGPT and OpenAI
conversations, ADGEN, and pairs such as prompt and completion. A file has one layout, told by the columns of all its
rows.

Texts that a model is tuned on as they are (alpaca, conversations, ADGEN, pairs) are asked as they are, instruction and
input joined by a line end as LLaMA-Factory does. A bare question gets a cue, and choices get letters as in C-Eval and
MMLU, in the language of the file.

Not here: reading files (`harness.data.rows`), choices and which is right (`harness.tasks.own_files.question_choices`),
the task made of all this (`harness.tasks.own_files.file_tasks`), or computing metrics (`harness.metrics.text.overlap`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from harness.data import rows as file_rows
from harness.data.rows import Row
from harness.errors import HarnessError
from harness.metrics.answers.numbers import is_number, last_number
from harness.tasks.own_files import question_choices

COMPARISONS = ("exact_match", "contains", "number", "rouge", "bleu")
"""What --metric takes."""
_QUESTIONS = ("question", "problem", "问题", "题目", "题干")
_ANSWERS = ("answer", "answers", "answerkey", "reference", "target", "label", "gold", "答案")
_CONTEXTS = ("context", "passage")
_PROMPTS = ("prompt", "input")
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
    contents, where a conversation may lead up to the answer; `shared`, the text asked about, in files of such."""
    columns: tuple[str, ...]
    """Those that were read."""
    unread: tuple[str, ...]
    """Those that were not."""
    metrics: tuple[str, ...]
    """`acc`, or names of `harness.metrics.text.overlap.METRICS`."""
    delimiter: str
    """Between prompt and answer."""
    stops: tuple[str, ...] = ()
    stops_after_shots: tuple[str, ...] = ()
    """Further ones where examples show how the next begins."""

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
    """None yet for a row with choices, which are decided on together."""
    cued: bool = False
    metrics: tuple[str, ...] = ()
    """Those it is compared by unless told otherwise."""
    choices: tuple[str, ...] = ()
    """Columns of choices, the last of `columns` being the one that names the right one."""


def read(file: Path, comparisons: Sequence[str] = ()) -> Questions:
    """Return the test set in `file`, its answers compared by `comparisons` or, where it is clear, by what fits them.

    Choices are compared by accuracy alone.

    Raises HarnessError naming the file, the line and what is wrong there, or the choice that a person has to make.
    """
    rows = list(file_rows.rows(file))
    if not rows:
        raise HarnessError(f"{file} holds no rows: there is nothing to ask")
    names = tuple(dict.fromkeys(name for row in rows for name in row.names()))
    layout = _recognised(file, names)
    spelled = {name.lower(): name for row in rows for name in row.columns}
    columns = tuple(spelled[name] for name in layout.columns)
    unread = tuple(spelled[name] for name in names if name not in layout.columns)
    documents = [layout.document(row) for row in rows]
    chinese = 2 * sum(_is_chinese(one["prompt"]) for one in documents) > len(documents)
    if layout.choices:
        places = question_choices.places(file, rows, layout.choices, layout.columns[-1])
        cue, delimiter = ("答案：", "") if chinese else ("Answer:", " ")
        asked = [
            {**one, "prompt": f"{one['prompt']}\n{cue}", "answer": place}
            for one, place in zip(documents, places, strict=True)
        ]
        return Questions(asked, columns, unread, ("acc",), delimiter)
    chosen = tuple(comparisons) or layout.metrics or _evident(file, documents)
    for name in chosen:
        if name not in COMPARISONS:
            raise HarnessError(f"{file}: there is no --metric {name} for answers in words: choose among {_named()}")
    if "number" in chosen:
        _require_numbers(rows, documents)
    found = _answering(documents, layout.cued, chosen, chinese)
    return replace(found, columns=columns, unread=unread)


def _recognised(file: Path, names: Sequence[str]) -> _Layout:
    """Return the layout of a file whose rows have something in the columns `names`."""

    def first(*wanted: str) -> str:
        return next((name for name in wanted if name in names), "")

    if talk := first(*_CONVERSATIONS):
        return _Layout((talk, *_there(names, "system")), lambda row: _conversation(row, talk))
    choices = question_choices.columns(names)
    before = _there(names, first(*_CONTEXTS))
    instruction, output = first("instruction"), first("output", "response", *_ANSWERS)
    question = (*before, first(*_QUESTIONS, "query", *_PROMPTS))
    if choices and (instruction or question[-1]) and output:
        asked = (*before, instruction, *_there(names, "input")) if instruction else question
        return _Layout(
            (*asked, *choices, output),
            lambda row: _lettered(row, asked, choices) | _shared(row, before),
            choices=choices,
        )
    if choices:
        raise _unknown(file, names)
    led = _there(names, "system", "history")
    if instruction and output:
        columns = (instruction, *_there(names, "input"), output)
        return _Layout((*led, *columns), lambda row: _instruction(row, columns))
    if first("query") and first("response"):  # as ms-swift has them
        return _Layout((*led, "query", "response"), lambda row: _instruction(row, ("query", "response")))
    if first("content") and first("summary"):
        scored = ("rouge", "bleu")  # as ChatGLM-6B's ptuning/main.py does
        return _Layout(("content", "summary"), lambda row: _pair(row, ("content",), "summary"), metrics=scored)
    if (named := first(*_QUESTIONS, "query")) and (answer := first(*_ANSWERS, "response")):
        asked = (*before, named)
        return _Layout((*asked, answer), lambda row: _pair(row, asked, answer) | _shared(row, before), cued=True)
    prompt = first(*_PROMPTS)
    completion = first(*(name for name in _COMPLETIONS if name != prompt))
    if prompt and completion:
        return _Layout((prompt, completion), lambda row: _pair(row, (prompt,), completion))
    raise _unknown(file, names)


def _unknown(file: Path, names: Iterable[str]) -> HarnessError:
    return HarnessError(
        f"{file}: no known layout in the columns {', '.join(names)}: rename them, known are {_KNOWN}; or write a "
        "definition ('harness tasks new NAME')"
    )


def _there(names: Iterable[str], *wanted: str) -> tuple[str, ...]:
    return tuple(name for name in wanted if name in names)


def _pair(row: Row, asked: Sequence[str], answer: str) -> dict[str, Any]:
    return _answered(_joined(row, asked), row.texts(answer))


def _lettered(row: Row, asked: Sequence[str], choices: tuple[str, ...]) -> dict[str, Any]:
    found = question_choices.of(row, choices)
    lines = [
        _joined(row, asked),
        *(f"{letter}. {text}" for letter, text in zip(found.letters, found.texts, strict=True)),
    ]
    return {"prompt": "\n".join(lines), "letters": list(found.letters)}


def _joined(row: Row, asked: Sequence[str]) -> str:
    """Return what is in the columns `asked`, the last of which has to be there, a line end between them."""
    texts = [*(row.text(column, needed=False) for column in asked[:-1]), row.text(asked[-1])]
    return "\n".join(text for text in texts if text)


def _shared(row: Row, contexts: Sequence[str]) -> dict[str, str]:
    """Return the text that a row's question is on, in a file whose rows have such, and others may have the same."""
    return {"shared": "\n".join(row.text(column, needed=False) for column in contexts)} if contexts else {}


def _answered(prompt: str, answers: list[str]) -> dict[str, Any]:
    return {"prompt": prompt, "answer": answers[0], "answers": answers}


# --- conversations ----------------------------------------------------------------------------------------------------


def _instruction(row: Row, columns: Sequence[str]) -> dict[str, Any]:
    """Return what an alpaca row asks, after its `system` and its `history` of questions and answers, if it has any."""
    instruction, *given, output = columns
    texts = (row.text(instruction), *(row.text(column, needed=False) for column in given))
    question = "\n".join(text for text in texts if text)
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


# --- answers in words -------------------------------------------------------------------------------------------------


def _answering(documents: Sequence[dict[str, Any]], cued: bool, comparisons: Sequence[str], chinese: bool) -> Questions:
    rouge = ("rouge1_jieba", "rouge2_jieba", "rougeL_jieba") if chinese else ("rouge1", "rouge2", "rougeL")
    spelled = {"rouge": rouge, "bleu": ("bleu4_characters",)}
    metrics = tuple(dict.fromkeys(name for one in comparisons for name in spelled.get(one, (one,))))
    accepted = [text for one in documents for text in one["answers"]]
    if not cued:  # the line end after a prompt is the checkpoint's to write, so it cannot end an answer
        shown = () if any("\n\n" in text for text in accepted) else ("\n\n",)
        return Questions(list(documents), (), (), metrics, "\n", (), shown)
    question, answer, delimiter = ("问题：", "答案：", "") if chinese else ("Question: ", "Answer:", " ")
    asked = [{**one, "prompt": f"{question}{one['prompt']}\n{answer}"} for one in documents]
    one_line = "exact_match" in comparisons and not any("\n" in text for text in accepted)
    stops = ("\n",) if one_line else (f"\n{question.strip()}",)
    return Questions(asked, (), (), metrics, delimiter, stops)


def _evident(file: Path, documents: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """Return how answers are compared where nobody said so: as numbers if each is one and nothing else."""
    if all(is_number(text) for one in documents for text in one["answers"]):
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
