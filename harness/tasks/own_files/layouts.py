"""The layouts of a user's own test set: which columns hold questions and answers, and how a row becomes a document.

Supported layouts are question and answer, multiple choice (a list, or columns A, B, C …), alpaca, ShareGPT and OpenAI
conversations, ADGEN, consultations with articles of law (query, laws, response), and pairs such as prompt and
completion. A file has one layout, recognised by the columns of all its rows taken together.

Training reads its corpora in the same layouts (`harness.training.examples`).

Not here: choices and which of them is right (`harness.tasks.own_files.choices`), or how answers are compared
(`harness.tasks.own_files.question_files`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from harness.data.rows import Row, parse_row
from harness.errors import HarnessError
from harness.tasks.own_files import choices

_QUESTIONS = ("question", "problem", "问题", "题目", "题干")
_ANSWERS = ("answer", "answers", "answerkey", "reference", "target", "label", "gold", "答案")
_CONTEXTS = ("context", "passage")
_PROMPTS = ("prompt", "input")
_COMPLETIONS = ("completion", "response", "output", "target", "answer")
CONVERSATIONS = ("conversations", "messages")
"""Columns that hold the turns of a conversation."""
_ARTICLES = "laws"
SUPPORTED = (
    "question + answer, question + choices (or A, B, C, D) + answer, instruction + output, query + response, "
    "conversations, messages, content + summary, prompt + completion, prompt + response + history"
)
"""The columns of the layouts, for messages."""
_ROLES = {
    **dict.fromkeys(("system",), "system"),
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatglm", "bot", "model"), "assistant"),
}

Document = dict[str, Any]
"""A mapping with `prompt` and `answer`. It also has `letters` if a letter is the answer, else all accepted `answers`.
In conversations, it has `turns` (role and content), and those of `PARTS` that the row has: the articles of law quoted
for the last question, and the input that is apart from its instruction. In files with passages, it has `shared`, the
passage of the question."""
PARTS = ("articles", "input")
"""The keys of a document that repeat a part of its last question, for templates that write this part apart."""
Turn = dict[str, str]
"""The `role` and `content` of one message."""


class Layout(NamedTuple):
    """The columns of a file, and how a row becomes a document."""

    columns: tuple[str, ...]
    """The columns read, in lower case; in a multiple-choice file the last one holds the answer."""
    document: Callable[[Row], Document]
    """Returns a row's document. For multiple choice, this document still lacks `answer`, which is determined from all
    rows together. It has `question`, the question without choices, which is removed later."""
    is_bare_question: bool = False
    """Whether the prompt is a question alone, to which a cue such as "Answer:" is added."""
    comparisons: tuple[str, ...] = ()
    """The metrics by default; empty if the layout implies no metric."""
    choices: tuple[str, ...] = ()
    """The columns of choices; empty unless the file is multiple choice."""


def recognise(file: Path, names: Sequence[str]) -> Layout:
    """Return the layout of `file`, whose rows have values in the columns `names`, given in lower case.

    Raises HarnessError if the file has none of the supported layouts.
    """

    def first(*candidates: str) -> str:
        return next((name for name in candidates if name in names), "")

    if conversation := first(*CONVERSATIONS):
        return Layout((conversation, *_present(names, "system")), lambda row: _conversation(row, conversation))
    choice_columns = choices.columns(names)
    context = _present(names, first(*_CONTEXTS))
    instruction, output = first("instruction"), first("output", "response", *_ANSWERS)
    question = (*context, first(*_QUESTIONS, "query", *_PROMPTS))
    if choice_columns and (instruction or question[-1]) and output:
        prompt = (*context, instruction, *_present(names, "input")) if instruction else question
        return Layout(
            (*prompt, *choice_columns, output),
            lambda row: _multiple_choice(row, prompt, choice_columns) | _shared(row, context),
            choices=choice_columns,
        )
    if choice_columns:
        raise _unsupported(file, names)
    before = _present(names, "system", "history", _ARTICLES)
    if instruction and output:
        columns = (instruction, *_present(names, "input"), output)
        return Layout((*before, *columns), lambda row: _instruction(row, columns))
    if first("query") and first("response"):  # ms-swift's columns; with `laws`, those of Lawyer LLaMA
        return Layout((*before, "query", "response"), lambda row: _instruction(row, ("query", "response")))
    if {"query", "history", _ARTICLES} <= {*names}:  # Lawyer LLaMA's dialogues, whose history holds every turn
        return Layout((*_present(names, "system"), "history", _ARTICLES), _spoken)
    if first("content") and first("summary"):
        comparisons = ("rouge", "bleu")  # those of ChatGLM-6B's ptuning/main.py
        pair = ("content", "summary")
        return Layout(pair, lambda row: _pair(row, ("content",), "summary"), comparisons=comparisons)
    if (name := first(*_QUESTIONS, "query")) and (answer := first(*_ANSWERS, "response")):
        prompt = (*context, name)
        return Layout(
            (*prompt, answer), lambda row: _pair(row, prompt, answer) | _shared(row, context), is_bare_question=True
        )
    prompt_column = first(*_PROMPTS)
    completion = first(*(name for name in _COMPLETIONS if name != prompt_column))
    if prompt_column and completion and "history" in before:  # the option history_column of ChatGLM's ptuning/main.py
        columns = (prompt_column, completion)
        return Layout((*before, *columns), lambda row: _instruction(row, columns))
    if prompt_column and completion:
        return Layout((prompt_column, completion), lambda row: _pair(row, (prompt_column,), completion))
    raise _unsupported(file, names)


def _unsupported(file: Path, names: Iterable[str]) -> HarnessError:
    return HarnessError(
        f"{file}: no known layout in the columns {', '.join(names)}: rename them, known are {SUPPORTED}; or write a "
        "definition ('harness tasks new NAME')"
    )


def _present(names: Iterable[str], *candidates: str) -> tuple[str, ...]:
    return tuple(name for name in candidates if name in names)


# --- questions and pairs ----------------------------------------------------------------------------------------------


def _pair(row: Row, prompt: Sequence[str], answer: str) -> Document:
    return _document(_joined(row, prompt), row.texts(answer))


def _multiple_choice(row: Row, prompt: Sequence[str], choice_columns: tuple[str, ...]) -> Document:
    options = choices.of(row, choice_columns)
    lines = (f"{letter}. {text}" for letter, text in zip(options.letters, options.texts, strict=True))
    question = _joined(row, prompt)
    return {"prompt": "\n".join([question, *lines]), "letters": list(options.letters), "question": question}


def _joined(row: Row, columns: Sequence[str]) -> str:
    """Return the texts in `columns`, separated by line ends; only the last column must have a text."""
    texts = [*(row.text(column, needed=False) for column in columns[:-1]), row.text(columns[-1])]
    return "\n".join(text for text in texts if text)


def _shared(row: Row, contexts: Sequence[str]) -> dict[str, str]:
    """Return {"shared": the passage of the row, which other rows may have, too}; empty in a file without passages."""
    return {"shared": "\n".join(row.text(column, needed=False) for column in contexts)} if contexts else {}


def _document(prompt: str, answers: list[str]) -> Document:
    return {"prompt": prompt, "answer": answers[0], "answers": answers}


# --- conversations ----------------------------------------------------------------------------------------------------


def _instruction(row: Row, columns: Sequence[str]) -> Document:
    """Return the document of an alpaca row, after the row's `system` and its `history` of questions and answers."""
    instruction, *more, output = columns
    texts = (row.text(instruction), *(row.text(column, needed=False) for column in more))
    question = "\n".join(text for text in texts if text)
    document = _after_turns(row, [*_exchanges(row), _turn("user", question)], row.texts(output))
    return {**document, "input": texts[-1]} if more and texts[-1] else document


def _spoken(row: Row) -> Document:
    """Return the document of a dialogue whose `history` lists what each side said, the client first.

    As in the task `legal_consult_multi_turn`, what one side said in several entries is one turn, and what the client
    said after the last answer is left out.
    """
    history = _listed(row, "history")
    if not isinstance(history, list) or not all(isinstance(text, str) for text in history):
        raise row.error("'history' is not a list of what client and lawyer said")
    turns: list[Turn] = []
    for text in history:
        mark = next((mark for mark in _SIDES if text.startswith(mark)), None)
        if mark is None:
            raise row.error(f"an entry of 'history' begins with none of {', '.join(_SIDES)}")
        content = text.removeprefix(mark).strip()
        if turns and turns[-1]["role"] == _SIDES[mark]:
            content = f"{turns.pop()['content']}\n{content}"
        turns.append(_turn(_SIDES[mark], content))
    if turns and turns[-1]["role"] == "user":
        turns.pop()
    if not turns or turns[0]["role"] != "user":
        raise row.error("'history' does not begin with a question that is answered")
    return _after_turns(row, turns[:-1], [turns[-1]["content"]])


_SIDES = {"[客户]": "user", "[律师]": "assistant"}
"""The role of each side of Lawyer LLaMA's dialogues, by the mark before what it said."""


def _exchanges(row: Row) -> list[Turn]:
    """Return the turns of the row's `history`, a list of questions with their answers."""
    history = _listed(row, "history") or []
    problem = "'history' is not a list of questions and answers"
    if not isinstance(history, list):
        raise row.error(f"{problem}, but {_kind(history)}")
    turns: list[Turn] = []
    for number, pair in enumerate(history, 1):
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str | None) for text in pair):
            raise row.error(f"{problem}: its item {number} is not two texts")
        for name, role, text in zip(("question", "answer"), ("user", "assistant"), pair, strict=True):
            if not (text or "").strip():
                raise row.error(f"the {name} in item {number} of 'history' is empty")
            turns.append(_turn(role, text))
    return turns


def _listed(row: Row, column: str) -> Any:
    """Return the value of `column`. A list that is written as JSON, as in the cell of a table, is read."""
    value = row.get(column)
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):
            return parse_row(value)
    return value


def _kind(value: object) -> str:
    """Return in words what `value`, read from JSON or a table, is."""
    kinds = {str: "a text", bool: "true or false", list: "a list", dict: "a mapping", type(None): "null"}
    return kinds.get(type(value), "a number")


def _turn(role: str, content: str) -> Turn:
    return {"role": role, "content": content}


def _after_turns(row: Row, turns: list[Turn], answers: list[str]) -> Document:
    """Return the document whose prompt is the row's system prompt, if any, and `turns`; it accepts `answers`.

    Articles of law that the row quotes follow the last question.
    """
    articles = _listed(row, _ARTICLES) or []
    if not isinstance(articles, list) or not all(isinstance(text, str) and text.strip() for text in articles):
        raise row.error(f"'{_ARTICLES}' is not a list of articles of law")
    if articles:
        turns = [*turns[:-1], _turn("user", f"{turns[-1]['content']}\n{quoted(articles)}")]
    if system := row.text("system", needed=False).strip():
        turns = [_turn("system", system), *turns]
    document = {**_document("\n".join(turn["content"] for turn in turns), answers), "turns": turns}
    return {**document, "articles": articles} if articles else document


def quoted(articles: Sequence[str]) -> str:
    """Return the lines with which a question quotes `articles` of law, as in Lawyer LLaMA's data."""
    return "参考法条: " + "\n".join(articles)


def _conversation(row: Row, column: str) -> Document:
    """Return the document of a conversation: the last answer is to be given after all earlier turns."""
    items = _listed(row, column)
    if items is None:
        others = ", ".join(row.names())
        raise row.error(f"it has no '{column}'{others and f', but {others}'}")
    if not isinstance(items, list):
        raise row.error(f"'{column}' is not a list of turns, but {_kind(items)}")
    if not items:
        raise row.error(f"'{column}' is an empty list")
    turns = [_read_turn(row, column, number, item) for number, item in enumerate(items, 1)]
    if _is_empty(turns[0]) and turns[0]["role"] == "system":  # which many exports write into each conversation
        del turns[0]
    if empty := next((turn for turn in turns if _is_empty(turn)), None):
        number = turns.index(empty) + 1 + len(items) - len(turns)
        raise row.error(f"'{column}' holds a turn without text (turn {number}, {empty['role']})")
    roles = [turn["role"] for turn in turns[-2:]]
    if roles != ["user", "assistant"]:
        ending = f", but with {', '.join(roles)}" if roles else ""
        raise row.error(f"'{column}' does not end with a question and its answer{ending}")
    return _after_turns(row, turns[:-1], [turns[-1]["content"]])


def _is_empty(turn: Turn) -> bool:
    return not turn["content"].strip()


def is_answer(turn: Mapping[Any, Any]) -> bool:
    """Return whether `turn`, an item of a conversation as its file has it, is an answer."""
    role = _first(turn, ("from", "role"))
    return isinstance(role, str) and _ROLES.get(role.strip().lower()) == "assistant"


def _read_turn(row: Row, column: str, number: int, item: object) -> Turn:
    """Return the turn `item`, the one with this `number`; its content may be empty."""
    if not isinstance(item, Mapping):
        raise row.error(f"'{column}' holds an item that is not a turn (item {number}, {_kind(item)})")
    role, content = (_first(item, names) for names in (("from", "role"), ("value", "content")))
    if role is None:
        raise row.error(f"'{column}' holds a turn without a role, 'from' or 'role' (turn {number})")
    if not {"value", "content"} & item.keys():
        raise row.error(f"'{column}' holds a turn with neither 'value' nor 'content' (turn {number}, {role})")
    known = _ROLES.get(role.strip().lower()) if isinstance(role, str) else None
    if known is None:
        raise row.error(f"'{column}' holds a turn of a role ({role}) other than {', '.join(_ROLES)} (turn {number})")
    try:
        return _turn(known, _text(content))
    except ValueError as error:
        raise row.error(f"'{column}' holds a turn {error} (turn {number}, {role})") from error


def _first(item: Mapping[str, Any], names: Sequence[str]) -> Any:
    """Return the first value in `item` under one of `names` that is not null, or None."""
    return next((item[name] for name in names if item.get(name) is not None), None)


def _text(content: object) -> str:
    """Return the text of a turn's `content`; parts of text, as OpenAI has them, are joined by line ends.

    Raises ValueError, saying what the turn has, if it is or holds anything else.
    """
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise ValueError(f"whose content is {_kind(content)}, not a text")
    texts = []
    for part in content:
        kind = part.get("type", "text") if isinstance(part, Mapping) else "text"
        text = part.get("text") if isinstance(part, Mapping) else part
        if kind != "text":
            raise ValueError(f"with a part of the type {kind}, which is not text")
        if not isinstance(text, str):
            raise ValueError(f"with a part whose text is {_kind(text)}")
        texts.append(text)
    return "\n".join(texts)
