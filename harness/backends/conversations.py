"""The conversations of one run as prompts, and what a reader of the run's report should know about these prompts.

Not here: the template itself (`harness.backends.chat`), and what is refused before a run (`harness.runs.checks`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property

from harness.backends import chat_probes
from harness.backends.chat import ChatTemplate, Ending, Turn, UnusableTemplateError
from harness.backends.chat_probes import Findings
from harness.backends.encoding import Encoder
from harness.checkpoints.chatglm.dialogues import PLAIN
from harness.engine.decoding import thinking


class Conversations:
    """Renders conversations by a chat template, and remembers what the template changed or left out."""

    def __init__(self, template: ChatTemplate) -> None:
        self.template = template
        self.scores_continuations = False
        """Whether continuations are scored after the next prompts, which then must not end within a thought."""
        self.dropped_system = False
        """Whether the chat template rejected the system role, so that the system turn's text is in no prompt."""
        self._has_rendered = self._has_history = False
        self._scored: dict[int, Ending | None] = {}  # how each prompt ended, by the prompt's hash
        self._may_think: set[int] = set()
        self._systems = self._lost_systems = self._without_system = 0
        self._incomplete: set[str] = set()

    def prompt(self, turns: Sequence[Turn], *, generation: bool = True) -> str:
        """Return the conversation as the chat template renders it.

        An open thought is closed if continuations are scored after the prompt. If the template rejects the system role,
        the system turn is dropped, as in lm-eval. Raises HarnessError if there is no chat template or if it cannot be
        rendered.
        """
        others = [turn for turn in turns if turn["role"] != "system"]
        try:
            text = self.template.render(turns, generation=generation)
        except UnusableTemplateError as error:
            if len(others) == len(turns) or error.__cause__ is None:
                raise
            text, turns = self.template.render(others, generation=generation), others
            self.dropped_system = True
        self._has_rendered = True
        self._without_system += len(others) == len(turns)
        words = getattr(self.template.tokenizer, "prompt_rules", PLAIN).as_read(text)
        for turn in turns:
            if turn["role"] == "system":
                self._systems += 1
                self._lost_systems += turn["content"].strip() not in words
        self._has_history |= any(turn["role"] == "assistant" for turn in turns[:-1])
        self._check(words, others)
        ending = self.template.ending(text, turns)
        if not self.scores_continuations:
            return text
        self._scored[hash(text)] = ending
        if ending is None and self.template.may_think and text.endswith(self.template.tail):
            self._may_think.add(hash(text))
        return self.template.closed(text, turns)

    def notes(self, encoder: Encoder, eos_ids: Sequence[int], system_instruction: str | None) -> list[str]:
        """Return what a reader should know about the prompts that were rendered, one sentence each."""
        if not self._has_rendered:
            return []
        template, findings = self.template, self.findings
        notes = []
        if self.dropped_system:
            notes.append(
                "the chat template takes no system role: task descriptions and the system instruction are in no prompt"
            )
        elif self._lost_systems:
            texts = "task descriptions"
            if system_instruction:
                texts += f" and the system instruction {system_instruction!r}"
            is_in_some = self._lost_systems < self._systems
            share = f"missing in {self._lost_systems:,} of {self._systems:,} prompts" if is_in_some else "in no prompt"
            notes.append(f"the chat template leaves the system turn out or changes it: {texts} are {share}")
        if findings.own_system and self._without_system:
            own = findings.own_system if len(findings.own_system) <= 100 else f"{findings.own_system[:99]}…"
            notes.append(
                f"the chat template puts a system prompt of its own, {own!r}, into {self._without_system:,} prompts "
                "that have none: --system-instruction replaces it"
            )
        notes += self._thought_notes()
        if findings.missing_lead:
            notes.append(
                "the chat template ignores add_generation_prompt: prompts end without "
                f"{findings.missing_lead!r}, which begins an answer"
            )
        if findings.characters:
            notes.append(f"the chat template {findings.characters}")
        if findings.writes_date:
            notes.append("the chat template writes the date into prompts: those of another day differ")
        if self._incomplete:
            notes.append(f"{len(self._incomplete):,} prompts lack words of their questions, examples or earlier turns")
        for name in template.arguments:
            if name not in template.text:
                notes.append(f"the chat template does not use the variable {name}")
        return [*notes, *self._token_notes(encoder, eos_ids)]

    @cached_property
    def findings(self) -> Findings:
        """What is wrong with the chat template."""
        return chat_probes.probe(self.template)

    def _check(self, text: str, turns: Sequence[Turn]) -> None:
        """Remember `text` if it lacks words of `turns`; a thought missing from an earlier answer does not count."""
        contents = [turn["content"] for turn in turns]
        answers = [
            thinking.split(content, marks=self.template.marks).answer if turn["role"] == "assistant" else content
            for turn, content in zip(turns, contents, strict=True)
        ]
        if not chat_probes.has_all(text, answers):
            self._incomplete.add(text)

    def _thought_notes(self) -> list[str]:
        """Return notes on prompts after which choices are scored although a thought is open or may begin there."""
        notes = []
        endings = Counter(ending for ending in self._scored.values() if ending is not None)
        if endings:
            ending, _ = endings.most_common(1)[0]
            place = "within a thought" if ending.is_thought else "before an answer begins"
            others = f", and likewise in {len(endings) - 1:,} other forms" if len(endings) > 1 else ""
            notes.append(
                f"the chat template ends {self._share(endings.total())} {place} ({ending.tail.strip()!r}): choices are "
                f"scored after {ending.closing.strip()!r} instead{others}"
            )
        if self._may_think:
            is_in_all = len(self._may_think) == len(self._scored)
            where = "" if is_in_all else f" in {self._share(len(self._may_think))}"
            switch = self.template.switch
            advice = f"{switch}=false would put the empty thought of its chat template before them"
            reason = advice if switch else "its chat template puts an empty thought before earlier answers"
            notes.append(f"choices are scored where the checkpoint may begin a thought{where}: {reason}")
        return notes

    def _share(self, count: int) -> str:
        """Return "`count` of n prompts", where n is the number of prompts after which choices are scored."""
        return "prompts" if count == len(self._scored) else f"{count:,} of {len(self._scored):,} prompts"

    def _token_notes(self, encoder: Encoder, eos_ids: Sequence[int]) -> list[str]:
        """Return notes on the tokens that begin and end turns."""
        notes = []
        question: list[Turn] = [{"role": "user", "content": "Q7f3a"}]
        text = self.template.render(question)
        ids = encoder.encode([text])[text]
        bos = encoder.tokenizer.bos_token_id
        visible = [i for i in ids[:4] if i == bos or str(encoder.tokenizer.decode([i])).strip()]
        if bos is not None and visible[:2] == [bos, bos]:
            notes.append("prompts begin with two BOS tokens, from the chat template or from the tokenizer")
        if self._has_history and eos_ids and not self.findings.history:
            history: list[Turn] = [*question, {"role": "assistant", "content": "A9c2e"}, *question]
            text = self.template.render(history)
            if encoder.rules.is_dialogue(text):  # a published form, behind which the model was trained to end answers
                return notes
            after = text.rpartition("A9c2e")[2].rpartition("Q7f3a")[0]
            if set(eos_ids).isdisjoint(encoder.encode([after], special=False)[after]):
                ends = ", ".join(repr(str(encoder.tokenizer.decode([i]))) for i in eos_ids)
                notes.append(
                    f"behind an earlier answer the chat template writes {after.strip()!r}, which holds no token that "
                    f"ends a text ({ends}): answers may run on to their limit"
                )
        return notes
