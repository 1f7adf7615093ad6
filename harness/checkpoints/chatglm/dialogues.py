"""The published dialogues of ChatGLM-6B, ChatGLM2 and ChatGLM3: as chat templates, and as what a prompt's text says.

ChatGLM-6B numbers rounds from 0, ChatGLM2 from 1. ChatGLM-6B writes a question without earlier turns as it is.

ChatGLM3 begins each message with the token of its role. A message is encoded in three parts: the token, the rest of its
first line, and its content, each by itself, so that the ids of a dialogue are not those of its text. A rendered
dialogue is nevertheless a text here, because lm-eval joins, compares and stores prompts as texts. It begins with
`[gMASK]sop` and a role, as in the chat templates of newer ChatGLM3 folders, and only a text with this beginning is read
as a dialogue (`messages`). In all other texts, the names of roles are plain text, as the published tokenizer reads
them. The template writes the name of a role within a message with a backslash, which reading removes, so that no
message can end itself.

Sources: `chat` in THUDM/chatglm-6b modeling_chatglm.py, `build_prompt` in THUDM/chatglm2-6b and `build_single_message`,
`build_chat_input` in THUDM/chatglm3-6b tokenization_chatglm.py.

Not here: ids (`harness.checkpoints.chatglm.vocabularies`), and how a template is rendered
(`harness.checkpoints.templates`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

ROLES = ("system", "user", "assistant", "observation")
"""Roles of ChatGLM3's messages, in the order of the ids of their tokens."""
BEGINNING = "[gMASK]sop"
"""How a rendered dialogue of ChatGLM3 begins."""
_ANSWER = "<|assistant|>"
_ROLE = re.compile(rf"<\|({'|'.join(ROLES)})\|>")
_NAME = re.compile(rf"(\|(?:{'|'.join(ROLES)})\|>)")
_ESCAPED = re.compile(rf"\\(\|(?:{'|'.join(ROLES)})\|>)")


class PromptRules(NamedTuple):
    """What a tokenizer's model expects of a prompt beyond the ids of its text. The defaults are other models' rules."""

    beginning: tuple[int, ...] = ()
    """Ids before a text that has no context. Empty: BOS, else EOS."""
    ending: tuple[int, ...] = ()
    """Ids behind a context and before its answer. If there are any, whole texts are read behind `beginning` too."""
    reserved: tuple[str, ...] = ()
    """Texts that a prompt must not contain, because the tokenizer reads them as tokens that end a context."""
    is_dialogue: Callable[[str], bool] = lambda _: False
    """Returns whether a prompt is a published dialogue, behind which an answer is encoded by itself."""
    has_bare_questions: bool = False
    """Whether a rendered dialogue may be a question alone, whose text does not say that it is a dialogue."""
    as_read: Callable[[str], str] = str
    """Returns a rendered dialogue with the words that the model reads, without the marks that guard names of roles."""
    messages: Callable[[str], list[int] | None] = lambda _: None
    """Returns where each message of a text that is read message by message begins; None for another text."""


PLAIN = PromptRules()
"""The rules of tokenizers that have none of their own."""


class Message(NamedTuple):
    """A message of ChatGLM3; each part is encoded by itself."""

    role: str
    header: str
    """The rest of the first line, line end included; empty if the message ends before it."""
    content: str


def messages(text: str) -> list[Message] | None:
    """Return the messages of a rendered dialogue of ChatGLM3, or None if `text` is another text."""
    if not text.startswith(BEGINNING + "<|"):
        return None
    before, *parts = _ROLE.split(text[len(BEGINNING) :])
    if before:
        return None
    result = []
    for role, body in zip(parts[::2], parts[1::2], strict=True):
        header, line_end, content = unguarded(body).partition("\n")
        # An answer that was put directly behind the role has no header.
        result.append(Message(role, header + line_end, content) if line_end else Message(role, "", header))
    return result


def message_starts(text: str) -> list[int] | None:
    """Return where each message of a rendered dialogue of ChatGLM3 begins, or None if `text` is another text."""
    if messages(text) is None:
        return None
    return [match.start() for match in _ROLE.finditer(text)]


def guarded(text: str) -> str:
    """Return the content of a message as a rendered dialogue of ChatGLM3 has it: no name of a role ends it."""
    return _NAME.sub(r"\\\1", text)


def unguarded(text: str) -> str:
    """Return a part of a rendered dialogue of ChatGLM3 without the backslashes before names of roles in messages."""
    return _ESCAPED.sub(r"\1", text)


def is_dialogue(text: str, generation: int) -> bool:
    """Return whether `text` is a dialogue of the `generation` that ends where an answer begins."""
    if generation == 3:
        return text.endswith(_ANSWER) and messages(text) is not None
    number, line_end = _rounds(generation)
    return text.startswith(f"[Round {number}]{line_end}问：") and text.endswith(f"{line_end}答：")


def is_readable(template: str, generation: int) -> bool:
    """Return whether the tokenizer of `generation` reads what a folder's own chat `template` writes.

    Special tokens that a template writes, such as `[gMASK]sop`, are plain letters to ChatGLM2's tokenizer, and end the
    context too early in ChatGLM-6B. The tokenizers put these tokens themselves.
    """
    return "[gMASK]" not in template and not (generation == 3 and "<|" in template)


def template(generation: int) -> str:
    """Return the chat template of the `generation`."""
    return _roles_template() if generation == 3 else _rounds_template(*_rounds(generation), bare=generation == 1)


def _rounds(generation: int) -> tuple[int, str]:
    """Return the number of the first round, and the text between lines."""
    return (0, "\n") if generation == 1 else (1, "\n\n")


def _rounds_template(first: int, line_end: str, *, bare: bool) -> str:
    """Return a template of numbered rounds; with `bare`, a question without earlier turns is the whole prompt."""
    end = line_end.replace("\n", "\\n")
    alone = "messages|length == 1 and add_generation_prompt" if bare else "false"
    return (
        "{% for message in messages %}"
        "{% if message['role'] != ('user' if loop.index0 % 2 == 0 else 'assistant') %}"
        "{{ raise_exception('a dialogue of ChatGLM consists of questions and answers in turn') }}"
        f"{{% elif {alone} %}}{{{{ message['content'] }}}}"
        "{% elif message['role'] == 'user' %}"
        f"{{{{ '[Round ' ~ ((loop.index0 // 2) + {first}) ~ ']{end}问：' ~ message['content'] ~ '{end}' }}}}"
        "{% if add_generation_prompt or not loop.last %}{{ '答：' }}{% endif %}"
        f"{{% else %}}{{{{ message['content'] ~ '{end}' }}}}"
        "{% endif %}{% endfor %}"
    )


def _roles_template() -> str:
    escape = "".join(f"|replace('|{role}|>', '\\\\|{role}|>')" for role in ROLES)
    return (
        f"{{{{ '{BEGINNING}' }}}}"
        "{% for message in messages %}"
        "{% set role = 'observation' if message['role'] == 'tool' else message['role'] %}"
        f"{{% if role not in {list(ROLES)} %}}"
        "{{ raise_exception('ChatGLM3 has no role ' ~ role) }}{% endif %}"
        "{{ '<|' ~ role ~ '|>' }}"
        f"{{{{ (message['metadata'] or ''){escape} }}}}"
        "{{ '\\n' }}"
        f"{{{{ (message['content'] or ''){escape} }}}}"
        f"{{% endfor %}}{{% if add_generation_prompt %}}{{{{ '{_ANSWER}' }}}}{{% endif %}}"
    )
