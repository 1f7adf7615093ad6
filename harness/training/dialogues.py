"""How an example becomes text, and which parts of the text are learned.

`none` joins turns with line ends, as a run does without a chat template. `tokenizer` is the chat template of the
tokenizer itself. Where that marks what is generated (`{% generation %}`), the marks count. Otherwise the text up to an
answer is rendered as a prompt, and the text with the answer must begin with that prompt; a template that does not write
conversations in this way is refused.

The other formats are published ones, for bases without a template:

| format | source |
|---|---|
| `chatglm`, `chatglm2`, `chatglm3` | `chat` and `build_prompt` of ChatGLM (`harness.checkpoints.chatglm.dialogues`) |
| `alpaca` | tatsu-lab/stanford_alpaca train.py, PROMPT_DICT |
| `lawyer-llama` | AndrewZhe/lawyer-llama demo/demo_cmd.py, with and without articles |
| `lawgpt` | pengxiao-song/LaWGPT templates/law_template.json; an `input`, for which it has no place, follows |

Not here: token ids (`harness.training.encoding`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from harness.checkpoints import templates
from harness.checkpoints.chatglm import dialogues as chatglm
from harness.checkpoints.types import Tokenizer
from harness.errors import HarnessError
from harness.tasks.own_files import layouts
from harness.tasks.own_files.layouts import Turn
from harness.training.examples import Completion, Conversation, Example, Passage

Format = Literal["none", "tokenizer", "chatglm", "chatglm2", "chatglm3", "alpaca", "lawyer-llama", "lawgpt"]
Learned = Literal["answers", "last_answer", "everything"]
"""Which turns of a conversation are learned."""


_ROUNDS: dict[int, Format] = {1: "chatglm", 2: "chatglm2"}
"""Generation of ChatGLM → the format that its own chat template writes, of those with numbered rounds."""


class Segment(NamedTuple):
    """A part of an example's text."""

    text: str
    is_learned: bool


class UnrenderableError(Exception):
    """A conversation that a format cannot write; the message says why."""


class Writer:
    """Writes the examples of one corpus as text."""

    def __init__(self, form: Format | None, learned: Learned, tokenizer: Tokenizer, system: str = "") -> None:
        """Write in the format `form`; by default, conversations as the tokenizer's template and pairs as they are.

        `system` is the system prompt of conversations that have none.
        """
        self._form, self._learned, self._tokenizer, self._system = form, learned, tokenizer, system
        self.uses_template = False
        """Whether any example was written by the tokenizer's own chat template so far."""
        self._written_systems: set[str] = set()
        """System prompts that the chat template is known to write."""
        self.joins_answers = False
        """Whether an earlier answer was learned that no template separates from what is around it, so far."""
        self.writes_dialogues = False
        """Whether any example was more than a document so far."""

    def form(self, example: Example) -> Format:
        """Return the format in which `example` is written. Raises HarnessError if it is not known."""
        if isinstance(example, Passage):
            return "none"
        form: Format = self._form or ("none" if isinstance(example, Completion) else "tokenizer")
        if form == "tokenizer" and not self._tokenizer.chat_template:
            reason = "its rows are conversations" if self._form is None else "template: is tokenizer"
            raise HarnessError(
                f"{reason}, and the tokenizer has no chat template: set template: to one of none, chatglm, chatglm2, "
                "chatglm3, alpaca, lawyer-llama, lawgpt"
            )
        return form

    def segments(self, example: Example) -> list[Segment]:
        """Return the text of `example` in parts. Raises UnrenderableError if the format cannot write it."""
        form = self._written_form(self.form(example))
        if isinstance(example, Passage):
            return [Segment(example.text, is_learned=bool(example.text.strip()))]
        self.writes_dialogues = True
        self.uses_template |= form == "tokenizer"
        if isinstance(example, Completion) and form == "none" and not self._system:
            segments = [Segment(example.prompt + example.delimiter, False), Segment(example.text, True)]
            return self._as_learned(segments)
        conversation = self.conversation(example)
        segments = self._rendered(conversation) if form == "tokenizer" else self._published(conversation, form)
        return self._as_learned(segments)

    def _written_form(self, form: Format) -> Format:
        """Return the published format that a ChatGLM's own chat template writes in place of `form`, else `form`.

        The template of ChatGLM-6B writes a question alone and one with its answer in two ways, so that no prompt of it
        begins the text with the answer.
        """
        number = _generation(self._tokenizer)
        if form != "tokenizer" or number not in _ROUNDS or self._tokenizer.chat_template != chatglm.template(number):
            return form
        return _ROUNDS[number]

    def conversation(self, example: Completion | Conversation) -> Conversation:
        """Return `example` as a conversation, with the system prompt that applies to it."""
        if isinstance(example, Completion):
            turns = (Turn(role="user", content=example.prompt), Turn(role="assistant", content=example.text))
            example = Conversation(turns)
        if self._system and not example.has_system:
            return replace(example, turns=(Turn(role="system", content=self._system), *example.turns))
        return example

    def _as_learned(self, segments: list[Segment]) -> list[Segment]:
        """Return `segments` or, if everything is learned, their text as one, without what follows the last answer."""
        if self._learned != "everything":
            return segments
        last = max((place for place, segment in enumerate(segments) if segment.is_learned), default=-1)
        return [Segment("".join(segment.text for segment in segments[: last + 1]), is_learned=True)]

    def _published(self, conversation: Conversation, form: Format) -> list[Segment]:
        """Return a conversation in a published format; only the last answer is followed by the end of the text."""
        is_for_messages = form == "chatglm3" and _generation(self._tokenizer) == 3
        if is_for_messages:
            turns = (Turn(role=turn["role"], content=chatglm.guarded(turn["content"])) for turn in conversation.turns)
            conversation = replace(conversation, turns=tuple(turns))
        try:
            exchanges = conversation.exchanges
        except ValueError as error:
            raise UnrenderableError(str(error)) from error
        self.joins_answers |= form == "none" and len(exchanges) > 1 and self._learned == "answers"
        segments: list[Segment] = []
        prompts = _FORMATS[form](conversation, exchanges)
        if is_for_messages:
            prompts[0] = chatglm.BEGINNING + prompts[0]
        for place, (prompt, (_, answer)) in enumerate(zip(prompts, exchanges, strict=True)):
            is_last = place == len(exchanges) - 1
            segments.append(Segment(prompt, is_learned=False))
            segments.append(Segment(answer, is_learned=is_last or self._learned == "answers"))
        return segments

    def _rendered(self, conversation: Conversation) -> list[Segment]:
        """Return a conversation as the tokenizer's own chat template writes it."""
        turns = conversation.turns
        answers = [place for place, turn in enumerate(turns) if turn["role"] == "assistant"]
        learned = answers if self._learned == "answers" else answers[-1:]
        try:
            self._require_system(conversation)
            if self._learned == "everything":
                text = templates.render(self._tokenizer, turns, add_generation_prompt=False)
                return [Segment(text[: _end(text, (0, len(text)), [turns[-1]["content"]])], is_learned=True)]
            if templates.marks_answers(self._tokenizer):
                return self._by_marks(turns, learned, has_others=len(learned) < len(answers))
            return self._by_prefixes(turns, learned)
        except templates.TemplateRenderingError as error:
            disorder = conversation.disorder
            reason = f"{disorder}, and the chat template takes no other order ({error})" if disorder else ""
            reason = reason or f"the chat template cannot be rendered: {error}"
            raise UnrenderableError(f"{reason}: correct or remove it, or set another template") from error

    def _require_system(self, conversation: Conversation) -> None:
        """Raise UnrenderableError if the chat template leaves out the system prompt."""
        content = conversation.system.strip()
        if not content or content in self._written_systems or _generation(self._tokenizer) is not None:
            return  # a ChatGLM's own template writes what it takes, and guards marks in it
        text = templates.render(self._tokenizer, conversation.turns, add_generation_prompt=False)
        if content[-_TAIL:].casefold() not in text.casefold():
            raise UnrenderableError(
                "the chat template does not write the system prompt: remove the prompt, or set another template"
            )
        self._written_systems.add(content)

    def _by_marks(self, turns: Sequence[Turn], answers: Sequence[int], *, has_others: bool) -> list[Segment]:
        """Return the text of `turns` with what the template marks in the answers at the places `answers` as learned.

        `has_others` is whether earlier answers are not learned.
        """
        text, spans = templates.render_marked(self._tokenizer, turns)
        first = next(place for place, turn in enumerate(turns) if turn["role"] == "assistant")
        question = templates.render(self._tokenizer, turns[:first], add_generation_prompt=True)
        if text.startswith(question) and any(start < end <= len(question) for start, end in spans):
            raise UnrenderableError(
                "the chat template marks text before the first answer as generated: set another template"
            )
        if has_others:
            prompt = templates.render(self._tokenizer, turns[: answers[0]], add_generation_prompt=True)
            behind = [(start, end) for start, end in spans if end > len(prompt)]
            spans = behind if text.startswith(prompt) else spans[-1:]
        contents = [turns[place]["content"] for place in answers]
        spans = [(start, _end(text, (start, end), contents)) for start, end in spans if end > start]
        if not spans:
            raise UnrenderableError("the chat template marks none of its answers as generated: set another template")
        learned = "".join(text[start:end] for start, end in spans)
        if unmarked := sum(content.strip()[-_TAIL:] not in learned for content in contents):
            advice = "learn: last_answer, or " if unmarked < len(contents) else ""
            raise UnrenderableError(
                f"the chat template marks other text as generated than {unmarked} of the {len(contents)} answers: set "
                f"{advice}another template"
            )
        return _marked(text, spans)

    def _by_prefixes(self, turns: Sequence[Turn], answers: Sequence[int]) -> list[Segment]:
        """Return the text of `turns` with the answers at the places `answers` as learned parts."""
        text = templates.render(self._tokenizer, turns, add_generation_prompt=False)
        spans = []
        for place in reversed(answers):
            prompt = templates.render(self._tokenizer, turns[:place], add_generation_prompt=True)
            through = text
            if place < len(turns) - 1:
                through = templates.render(self._tokenizer, turns[: place + 1], add_generation_prompt=False)
            if not (text.startswith(through) and through.startswith(prompt)):
                advice = "set learn: last_answer, " if place < answers[-1] else ""
                raise UnrenderableError(
                    _NO_PREFIX + advice + "take a template with {% generation %}, or set another one"
                )
            spans.append((len(prompt), _end(through, (len(prompt), len(through)), [turns[place]["content"]])))
        return _marked(text, spans[::-1])


_NO_PREFIX = (
    "the chat template writes an answer in another way than the prompt that asks for it, so what is learned would not "
    "be what is asked: "
)


_TAIL = 20
"""Characters at the end of an answer by which it is recognised; templates change its beginning."""


def _end(text: str, span: tuple[int, int], contents: Sequence[str]) -> int:
    """Return where the answer at `span`, one of `contents`, ends in `text`.

    Line ends behind the end of a turn are left out, because a run stops before them; those of the answer itself stay.
    """
    start, end = span
    ends = [place + len(content) for content in contents if (place := text.rfind(content, start, end)) >= 0]
    return max(*ends, start, start + len(text[start:end].rstrip("\n")))


def _marked(text: str, spans: Sequence[tuple[int, int]]) -> list[Segment]:
    """Return `text` in parts, of which those at `spans` are learned."""
    segments, place = [], 0
    for start, end in spans:
        segments += [Segment(text[place:start], False), Segment(text[start:end], True)]
        place = end
    return [segment for segment in (*segments, Segment(text[place:], False)) if segment.text]


def _generation(tokenizer: Tokenizer) -> int | None:
    """Return the generation of a ChatGLM's tokenizer (1, 2 or 3), or None for others."""
    number = getattr(getattr(tokenizer, "vocabulary", None), "generation", None)
    return number if isinstance(number, int) else None


# --- published formats ------------------------------------------------------------------------------------------------

Exchanges = Sequence[tuple[str, str]]


def _plain(conversation: Conversation, exchanges: Exchanges) -> list[str]:
    """Return the turns joined by line ends up to the last question, as `harness.tasks.own_files.layouts` does."""
    first = [conversation.system] if conversation.system else []
    questions = [question for question, _ in exchanges]
    prompts = ["\n".join([*first, questions[0]]), *(f"\n{question}" for question in questions[1:])]
    return [*(f"{prompt}\n" for prompt in prompts[:-1]), prompts[-1]]


def _rounds(first: int, end: str, *, has_bare_question: bool) -> Callable[[Conversation, Exchanges], list[str]]:
    def write(conversation: Conversation, exchanges: Exchanges) -> list[str]:
        if conversation.system:
            raise UnrenderableError("a dialogue of ChatGLM has no system prompt: remove it, or use another template")
        if has_bare_question and len(exchanges) == 1:
            return [exchanges[0][0]]
        return [
            f"{end if place else ''}[Round {place + first}]{end}问：{question}{end}答："
            for place, (question, _) in enumerate(exchanges)
        ]

    return write


def _roles(conversation: Conversation, exchanges: Exchanges) -> list[str]:
    system = f"<|system|>\n{conversation.system}" if conversation.system else ""
    questions = [f"<|user|>\n{question}<|assistant|>\n" for question, _ in exchanges]
    return [system + questions[0], *questions[1:]]


_TASK = "Below is an instruction that describes a task"
_APPROPRIATELY = "Write a response that appropriately completes the request."


def _alpaca(conversation: Conversation, exchanges: Exchanges) -> list[str]:
    questions = [f"### Instruction:\n{question}" for question, _ in exchanges]
    header = f"{_TASK}. {_APPROPRIATELY}"
    if conversation.input:
        header = f"{_TASK}, paired with an input that provides further context. {_APPROPRIATELY}"
        more = [layouts.quoted(conversation.articles)] if conversation.articles else []
        content = "\n".join([conversation.input, *more])
        questions[-1] = f"### Instruction:\n{conversation.instruction}\n\n### Input:\n{content}"
    prompts = [f"{question}\n\n### Response:" for question in questions]
    return [f"{conversation.system or header}\n\n{prompts[0]}", *(f"\n\n{prompt}" for prompt in prompts[1:])]


_ASSISTANT = "你是人工智能法律助手“Lawyer LLaMA”，能够回答与中国法律相关的问题。"
_WITH_ARTICLES = (
    '请参考给出的"参考法条"，回复用户的咨询问题。"参考法条"中可能存在与咨询无关的法条，请回复时不要引用这些无关的法条。'
)


def _lawyer_llama(conversation: Conversation, exchanges: Exchanges) -> list[str]:
    header = conversation.system or _ASSISTANT
    questions = [question for question, _ in exchanges]
    if conversation.articles:
        header += _WITH_ARTICLES
        quoted = layouts.quoted(conversation.articles)
        questions[-1] = questions[-1].removesuffix(quoted) + f"### {quoted}"
    prompts = [f"### Human: {question}\n### Assistant: " for question in questions]
    return [f"{header}\n{prompts[0]}", *(f"\n{prompt}" for prompt in prompts[1:])]


_LAWGPT = (
    "你是中国顶尖智能法律顾问 LaWGPT，具备强大的中文法律基础语义理解能力，能够出色地理解和执行与法律问题和指令。"
    "你只能回答与中国法律领域相关的问题，其余领域的问题请礼貌地拒绝回答。接下来，请依据中国法律来回答下面这个问题。\n"
)


def _lawgpt(conversation: Conversation, exchanges: Exchanges) -> list[str]:
    if len(exchanges) > 1:
        raise UnrenderableError("LaWGPT's template writes one question, and this is a dialogue: use another template")
    header = f"{conversation.system}\n" if conversation.system else _LAWGPT
    return [f"{header}### 问题:\n{exchanges[0][0]}\n### 回答:\n"]


_FORMATS: dict[Format, Callable[[Conversation, Exchanges], list[str]]] = {
    "none": _plain,
    "chatglm": _rounds(0, "\n", has_bare_question=True),
    "chatglm2": _rounds(1, "\n\n", has_bare_question=False),
    "chatglm3": _roles,
    "alpaca": _alpaca,
    "lawyer-llama": _lawyer_llama,
    "lawgpt": _lawgpt,
}
