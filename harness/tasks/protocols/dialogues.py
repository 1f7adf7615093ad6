"""Conversations as the one text that ChatGLM-6B and ChatGLM2-6B were trained to read.

The two differ in a number, in empty lines, and in what a question without a history looks like. Both are cut to their
`max_source_length` on the right, after the turns were joined: what is lost is the end of the question that is asked,
and the oldest turn stays (`harness.backends.request_kinds.chatglm_predict.cut_texts`).

Not here: special tokens, which the tokenizer adds; templates that a checkpoint brings along.
"""

from __future__ import annotations

from collections.abc import Sequence

Turn = tuple[str, str]
"""A question and its answer."""


def chatglm(query: str, history: Sequence[Turn] = ()) -> str:
    """Return what ChatGLM-6B reads: rounds from 0, one line each part; without a history the bare query.

    As in its `chat()` and in ptuning/main.py at evaluation (THUDM/ChatGLM-6B@401bf3a, lines 164-171). In training with
    a history column that script wraps a first question, too.
    """
    if not history:
        return query
    turns = [f"[Round {i}]\n问：{asked}\n答：{answer}\n" for i, (asked, answer) in enumerate(history)]
    return f"{''.join(turns)}[Round {len(history)}]\n问：{query}\n答："


def chatglm2(query: str, history: Sequence[Turn] = ()) -> str:
    """Return what ChatGLM2-6B reads: rounds from 1, an empty line after each part, without a history, too.

    Its tokenizer's `build_prompt`.
    """
    turns = [f"[Round {i}]\n\n问：{asked}\n\n答：{answer}\n\n" for i, (asked, answer) in enumerate(history, 1)]
    return f"{''.join(turns)}[Round {len(history) + 1}]\n\n问：{query}\n\n答："
