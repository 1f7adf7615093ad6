"""Rendered dialogues: texts against the published formats, and ChatGLM3's ids against pieces encoded one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.checkpoints import templates
from harness.checkpoints.chatglm import dialogues
from support import chatglm_tokenizers as tokenizers

CONTENTS = (
    "天气",
    "\n",
    " ",
    "<|user|>",
    "<|assistant|>",
    "|user|>",
    "\\",
    "[gMASK]sop",
    "A. 甲",
    "<|",
    "{{ x }}",
    "\t",
)
contents = st.lists(st.sampled_from(CONTENTS), max_size=5).map("".join)


@pytest.fixture(scope="module")
def third(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    place = tokenizers.folder(tmp_path_factory.mktemp("3"), 3)
    return tokenizers.load(place), tokenizers.processor(place)


def turns(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


def render(tokenizer: Any, conversation: list[dict[str, str]], *, generation: bool = True) -> str:
    settings = {"add_generation_prompt": generation, "continue_final_message": not generation}
    return templates.render(tokenizer, conversation, **settings)


@given(roles=st.lists(st.sampled_from(dialogues.ROLES), min_size=1, max_size=4), data=st.data())
@settings(deadline=None, max_examples=60)
def test_chatglm3_encodes_the_parts_of_each_message_by_themselves(third: Any, roles: Any, data: st.DataObject) -> None:
    tokenizer, peer = third
    first = peer.get_piece_size()
    conversation, expected = [], [first + 1, first + 3]
    for role in roles:
        content, metadata = data.draw(contents), data.draw(st.sampled_from(["", "python", "<|user|>"]))
        conversation.append({"role": role, "content": content, "metadata": metadata})
        expected += [first + 5 + dialogues.ROLES.index(role), *peer.encode(f"{metadata}\n"), *peer.encode(content)]
    text = render(tokenizer, conversation)
    assert dialogues.is_dialogue(text, 3)
    assert tokenizer(text)["input_ids"] == [*expected, first + 7]
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == [*expected, first + 7]


def test_only_a_whole_dialogue_is_read_as_messages(third: Any) -> None:
    tokenizer, peer = third
    for text in ("<|user|>\n天气<|assistant|>", "[gMASK] sop<|user|>\n天气", "[gMASK]sop 天气<|user|>", "[gMASK]sop"):
        assert tokenizer.encode(text, add_special_tokens=False) == peer.encode(text)
        assert not dialogues.is_dialogue(text, 3)


def test_an_answer_that_is_left_open_is_part_of_its_message(third: Any) -> None:
    tokenizer, peer = third
    text = render(tokenizer, turns("天气", "很好"), generation=False)
    assert not dialogues.is_dialogue(text, 3)
    assert tokenizer.encode(text)[-len(peer.encode("很好")) :] == peer.encode("很好")


def test_rounds_are_written_as_published(tmp_path: Path) -> None:
    first = tokenizers.load(tokenizers.folder(tmp_path / "1", 1))
    second = tokenizers.load(tokenizers.folder(tmp_path / "2", 2))
    assert render(first, turns("水 ")) == "水 "
    assert render(first, turns("水", "火", "土")) == "[Round 0]\n问：水\n答：火\n[Round 1]\n问：土\n答："
    assert render(first, turns("水", "火"), generation=False) == "[Round 0]\n问：水\n答：火"
    assert render(second, turns("水")) == "[Round 1]\n\n问：水\n\n答："
    assert render(second, turns("水", "火", "土")) == "[Round 1]\n\n问：水\n\n答：火\n\n[Round 2]\n\n问：土\n\n答："
    assert render(second, turns("水", "火"), generation=False) == "[Round 1]\n\n问：水\n\n答：火"
    for tokenizer in (first, second):
        with pytest.raises(templates.TemplateRenderingError, match="questions and answers"):
            render(tokenizer, [{"role": "system", "content": "水"}, *turns("火")])


def test_chatglm3s_template_refuses_other_roles(third: Any) -> None:
    tokenizer, _ = third
    with pytest.raises(templates.TemplateRenderingError, match="no role critic"):
        render(tokenizer, [{"role": "critic", "content": "水"}])


@pytest.mark.parametrize(
    ("generation", "text", "expected"),
    [
        (1, "[Round 0]\n问：水\n答：", True),
        (1, "[Round 1]\n\n问：水\n\n答：", False),
        (1, "问：水\n答：", False),
        (2, "[Round 1]\n\n问：水\n\n答：", True),
        (2, "[Round 1]\n\n问：水\n\n答：火", False),
        (2, "[gMASK]sop<|user|>\n水<|assistant|>", False),
        (3, "[gMASK]sop<|user|>\n水<|assistant|>", True),
        (3, "[gMASK]sop<|user|>\n水", False),
        (3, "[Round 1]\n\n问：水\n\n答：", False),
    ],
)
def test_a_dialogue_is_known_by_its_text(generation: int, text: str, *, expected: bool) -> None:
    assert dialogues.is_dialogue(text, generation) == expected
