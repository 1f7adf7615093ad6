"""Few-shot examples that are the evaluated question itself, with its answer.

`harness.tasks.same_question` decides which texts ask the same question. lm-eval leaves out only the evaluated document
itself. A copy of the same row can therefore be an example that shows the answer. In a user's own files such examples
are left out (`OtherQuestions`). Prompts of published tasks remain those of lm-eval, and such examples in them are
counted (`watch`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lm_eval.api.samplers import ContextSampler
from lm_eval.api.task import ConfigurableTask

from harness.tasks.same_question import question_form, text_form

_LETTER = re.compile(r"[A-Z]\. ")
"""What begins a choice in the prompt of a user's own test set, such as `A. `."""

Document = Mapping[str, Any]


def question(document: Document) -> str:
    """Return a text that is equal for all documents of a user's own file that ask the same question.

    The order of the choices, and so the letter before each choice, makes no difference.
    """
    prompt = str(document["prompt"])
    if not document.get("letters"):
        return question_form(prompt)
    lines = prompt.split("\n")
    choices = sorted(text_form(line[3:]) for line in lines if _LETTER.match(line))
    return "\n".join([question_form("\n".join(line for line in lines if not _LETTER.match(line))), *choices])


class OtherQuestions(ContextSampler):  # type: ignore[misc]
    """lm-eval's random draw of examples, without those that ask the evaluated question.

    If lm-eval's draw has no such example, it is left unchanged.
    """

    def __init__(self, documents: Sequence[Document]) -> None:
        super().__init__(documents, rnd=None)
        self._questions = {id(document): question(document) for document in documents}

    def sample(
        self, n: int, eval_doc: Document | None = None, df: Sequence[Document] | None = None, **_: object
    ) -> list[Document]:
        """Return `n` examples for `eval_doc`. Raises ValueError if there are fewer."""
        if not n or eval_doc is None:
            return list(super().sample(n, eval_doc, df))
        evaluated = question(eval_doc)
        drawn = self.rnd.sample(self.df, n + 1)
        others = [example for example in drawn if self._questions[id(example)] != evaluated]
        if len(others) < n:
            others = [example for example in self.df if self._questions[id(example)] != evaluated]
            return list(self.rnd.sample(others, n))
        return others[:n]

    def fewest(self) -> tuple[int, Document]:
        """Return the smallest number of examples available to any document, and that document."""
        counts = Counter(self._questions.values())
        document = max(self.df, key=lambda document: counts[self._questions[id(document)]])
        return len(self.df) - counts[self._questions[id(document)]], document


# --- published tasks --------------------------------------------------------------------------------------------------


class _Turn(NamedTuple):
    """A question in a prompt, of an example or the evaluated document, in the form in which questions are compared."""

    text: str
    choices: tuple[str, ...]


class Watch:
    """Counts the questions of an lm-eval task that appeared among their own few-shot examples."""

    def __init__(self, task: ConfigurableTask) -> None:
        self._questions: set[_Turn] = set()
        self._turns: list[_Turn] = []
        self._render_prompt, self._render_turn = task.fewshot_context, task.build_qa_turn
        task.fewshot_context, task.build_qa_turn = self._prompt, self._turn

    @property
    def count(self) -> int:
        """The number of different questions counted."""
        return len(self._questions)

    def _prompt(self, *arguments: Any, **keywords: Any) -> Any:
        self._turns.clear()
        prompt = self._render_prompt(*arguments, **keywords)
        if len(self._turns) > 1 and self._turns[-1] in self._turns[:-1]:
            self._questions.add(self._turns[-1])
        return prompt

    def _turn(self, **keywords: Any) -> Any:
        q, c = keywords.get("q"), keywords.get("c")
        if isinstance(q, str):
            self._turns.append(_Turn(question_form(q), tuple(sorted(text_form(str(choice)) for choice in c or ()))))
        return self._render_turn(**keywords)


def watch(task: object) -> Watch | None:
    """Start watching the examples of an lm-eval `task`; return the `Watch`, or None if there can be no such leaks."""
    if not isinstance(task, ConfigurableTask) or isinstance(getattr(task, "sampler", None), OtherQuestions | None):
        return None
    return Watch(task)
