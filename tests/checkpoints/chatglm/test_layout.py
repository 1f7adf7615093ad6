"""Which generation a folder is, what its settings become, and one sentence for each that cannot be computed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.checkpoints import configs, identity, loading, remarks
from harness.checkpoints.chatglm import convert, layout
from harness.checkpoints.reference import CheckpointReference, parse
from harness.errors import HarnessError
from support import chatglm, chatglm_tokenizers

DIVIDES = "position_id = seq_idx / self.rope_ratio\n"
MULTIPLIES = "base = base * self.rope_ratio\n"
CHATGLM2 = {
    **chatglm.CONFIG,
    "num_layers": 28,
    "padded_vocab_size": 65024,
    "hidden_size": 4096,
    "ffn_hidden_size": 13696,
    "kv_channels": 128,
    "num_attention_heads": 32,
    "seq_length": 32768,
    "torch_dtype": "float16",
}
"""The sizes of ChatGLM2-6B and ChatGLM3-6B."""


def read(folder: Path, generation: int | None = None, names: Sequence[str] = (), **settings: Any) -> layout.Layout:
    folder.mkdir(exist_ok=True)
    return layout.read(folder, {**chatglm.CONFIG, **settings}, names, generation)


def angles(settings: layout.Layout, positions: torch.Tensor) -> torch.Tensor:
    """Return the angles of `positions` in float64, as the published formula of each generation has them."""
    size = settings.settings["kv_channels"] // 2
    exponents = torch.arange(0, size, 2, dtype=torch.float64) / size
    if settings.generation == 2:
        return (positions.double() / settings.rope_ratio)[:, None] / 10000**exponents
    return positions.double()[:, None] / (10000 * settings.rope_ratio) ** exponents


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"modeling_chatglm.py": DIVIDES, "tokenization_chatglm.py": "'<|user|>'"}, 2),
        ({"modeling_chatglm.py": MULTIPLIES}, 3),
        ({"tokenization_chatglm.py": "class ChatGLMTokenizer"}, 2),
        ({"tokenization_chatglm.py": "role_special_tokens = ['<|user|>']"}, 3),
        ({"tokenizer_config.json": '{"chat_template": "<|user|>"}'}, 3),
        ({"added_tokens.json": '{"<|user|>": 64795}'}, 3),
        ({"tokenizer_config.json": '{"name_or_path": "THUDM/chatglm2-6b-32k"}'}, 2),
        ({"tokenizer_config.json": '{"name_or_path": "THUDM/codegeex2-6b"}'}, 2),
        ({"tokenizer_config.json": '{"name_or_path": "/data/ChatGLM3-6B-32k"}'}, 3),
    ],
)
def test_the_files_of_the_folder_say_which_generation_it_is(
    tmp_path: Path, files: dict[str, str], expected: int
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert read(tmp_path, rope_ratio=4).generation == expected
    assert read(tmp_path, 5 - expected, rope_ratio=4).generation == 5 - expected  # the reference's key decides


def test_a_ratio_without_a_generation_asks_for_the_key(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"rope_ratio of 50.*write chatglm=2 or chatglm=3"):
        read(tmp_path, rope_ratio=50)
    assert read(tmp_path, 3, rope_ratio=50).rope_ratio == 50
    guess = read(tmp_path)  # without a ratio, both compute the same
    assert (guess.generation, guess.is_guess) == (2, True)
    assert not read(tmp_path, 2).is_guess


def test_a_ratio_that_only_the_code_states_counts(tmp_path: Path) -> None:
    (tmp_path / "modeling_chatglm.py").write_text("self.ratio = 200\n\n        base = base * self.ratio\n")
    settings = read(tmp_path)
    assert (settings.generation, settings.rope_ratio) == (3, 200)


@pytest.mark.parametrize(("generation", "ratio"), [(2, 4), (2, 1), (3, 50), (3, 1), (3, 200)])
def test_angles_are_those_of_the_published_formulas(tmp_path: Path, generation: int, ratio: float) -> None:
    from transformers.models.glm.modeling_glm import GlmRotaryEmbedding

    settings = read(tmp_path, generation, **CHATGLM2, rope_ratio=ratio)
    positions = torch.tensor([0, 1, 2, 1000, 2047, 8191, 32767])
    rotary = GlmRotaryEmbedding(convert.config(settings))
    cosines, sines = rotary(torch.zeros(1, dtype=torch.float32), positions[None])
    expected = angles(settings, positions)
    count = expected.shape[1]
    assert torch.allclose(cosines[0, :, :count].double(), expected.cos(), atol=5e-3)  # float32 at 32,767
    assert torch.allclose(sines[0, :, :count].double(), expected.sin(), atol=5e-3)
    assert torch.allclose(cosines[0, :4, :count].double(), expected[:4].cos(), atol=1e-4)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("rmsnorm", False),
        ("post_layer_norm", False),
        ("original_rope", False),
        ("multi_query_attention", False),
        ("apply_residual_connection_post_layernorm", True),
        ("add_bias_linear", True),
        ("fp32_residual_connection", True),
        ("interleaved_qkv", True),
        ("rotary_percent", 0.25),
    ],
)
def test_a_setting_that_no_published_checkpoint_has_is_named_with_its_value(
    tmp_path: Path, setting: str, value: object
) -> None:
    with pytest.raises(HarnessError, match=f"config.json sets {setting} to {value} and not to "):
        read(tmp_path, **{setting: value})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_layers": "28"}, 'sets num_layers to "28", which is not a positive number'),
        ({"hidden_size": -1}, "sets hidden_size to -1"),
        ({"rmsnorm": 1}, "sets rmsnorm to 1, which is not true or false"),
        ({"padded_vocab_size": 151552}, "is a GLM-4 in ChatGLM's layout: .*-hf"),
    ],
)
def test_other_unusable_settings_are_one_sentence(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        read(tmp_path, **settings)


def test_quantised_folders_are_recognised_by_their_weights(tmp_path: Path) -> None:
    layer = "transformer.encoder.layers.0.mlp.dense_4h_to_h"
    scales = [f"{layer}.weight", f"{layer}.weight_scale"]
    assert read(tmp_path, names=scales, quantization_bit=4).saved_bits == 4
    assert read(tmp_path, names=scales[:1], quantization_bit=4).saved_bits == 0
    with pytest.raises(HarnessError, match=r"holds quantised weights, but its config.json sets quantization_bit to 2"):
        read(tmp_path, names=scales, quantization_bit=2)
    with pytest.raises(HarnessError, match="name ends in -int4 instead of -int4-qe"):
        read(tmp_path, names=[*scales, "transformer.embedding.word_embeddings.weight_scale"], quantization_bit=4)


def test_glm4_is_recognised_by_its_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "ChatGLM4Tokenizer"}))
    with pytest.raises(HarnessError, match="is a GLM-4"):
        read(tmp_path)


def test_the_key_is_refused_where_it_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(HarnessError, match="is not in ChatGLM's layout: leave chatglm=2 out"):
        configs.chatglm_layout(tmp_path, CheckpointReference(str(tmp_path), chatglm=2))
    with pytest.raises(HarnessError, match=r"is a ChatGLM-6B, .* leave chatglm=3 out"):
        read(tmp_path, 3, position_encoding_2d=True)


def test_real_shapes_have_the_published_number_of_parameters(tmp_path: Path) -> None:
    from transformers import GlmForCausalLM

    with torch.device("meta"):
        model = GlmForCausalLM(convert.config(read(tmp_path, **CHATGLM2)))
    assert sum(weight.numel() for weight in model.parameters()) == 6_243_584_000
    assert 2 * 6_243_584_000 == 12_487_168_000  # bytes in 16 bits


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bos_token_id": "x"}, 'sets bos_token_id to "x", which is not the id of one of its'),
        ({"bos_token_id": [1]}, r"sets bos_token_id to \[1\]"),
        ({"gmask_token_id": 10**6}, "sets gmask_token_id to 1000000"),
        ({"mask_token_id": -1}, "sets mask_token_id to -1"),
        ({"num_attention_heads": 3}, "sets num_attention_heads to 3, which does not divide its hidden_size of 64"),
        ({"position_encoding_2d": False}, "sets position_encoding_2d to false and not to true"),
    ],
)
def test_unusable_settings_of_chatglm_6b_are_one_sentence(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    folder = chatglm.save_6b(tmp_path / "base", **settings)
    with pytest.raises(HarnessError, match=message):
        loading.locate(parse(str(folder)))


def test_marks_of_another_version_than_the_tokenizers_are_refused(tmp_path: Path) -> None:
    folder = chatglm.save_6b(tmp_path / "base", gmask_token_id=5)
    with pytest.raises(HarnessError, match=r"states 5 and \d+ as the ids of .gMASK. and <sop>"):
        loading.load(loading.locate(parse(str(folder))))


def test_groups_that_do_not_fit_the_rows_are_named(tmp_path: Path) -> None:
    folder = chatglm.save(tmp_path / "base", multi_query_group_num=8)
    with pytest.raises(HarnessError, match=r"query_key_value.* has 128 rows, but 4 heads and 8 groups of 16 have 320"):
        loading.load(loading.locate(parse(str(folder))))


@pytest.mark.parametrize("ratio", [float("inf"), 0, -1])
def test_a_ratio_must_be_a_number_to_divide_by(tmp_path: Path, ratio: float) -> None:
    with pytest.raises(HarnessError, match=r"sets rope_ratio to .*, which is not a positive number"):
        read(tmp_path, 2, rope_ratio=ratio)


def test_ids_that_a_file_leaves_open_are_not_glm4s(tmp_path: Path) -> None:
    config = convert.config(read(tmp_path, eos_token_id=None, pad_token_id=None))
    assert (config.eos_token_id, config.pad_token_id) == (2, 0)


@pytest.mark.parametrize(
    ("generation", "name"),
    [(1, "lm_head.weight"), (2, "transformer.output_layer.weight")],
)
def test_an_output_layer_that_is_not_stored_is_the_table_of_embeddings(
    tmp_path: Path, generation: int, name: str
) -> None:
    folder = (chatglm.save_6b if generation == 1 else chatglm.save)(tmp_path / "base")
    tensors = torch.load(folder / "pytorch_model.bin")
    del tensors[name]
    torch.save(tensors, folder / "pytorch_model.bin")
    model = loading.load(loading.locate(parse(str(folder)))).model
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    with pytest.raises(HarnessError, match=r"lacks weights .lm_head.weight"):
        loading.load(loading.locate(parse(str(folder))))


def test_published_angles_need_a_generation_that_has_them(tmp_path: Path) -> None:
    folder = chatglm.save(tmp_path / "base")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "ChatGLMTokenizer"}')
    with pytest.raises(HarnessError, match="no file says which: rope=published needs chatglm=2"):
        loading.locate(parse(f"{folder},rope=published"))
    with pytest.raises(HarnessError, match="is a ChatGLM3, whose own code computes angles in float32"):
        loading.locate(parse(f"{folder},rope=published,chatglm=3"))
    located = loading.locate(parse(f"{folder},rope=published,chatglm=2,dtype=bfloat16"))
    assert any("rotary angles are computed in bfloat16" in note for note in remarks.on_files(located))
    plain = loading.locate(parse(f"{folder},chatglm=2,dtype=bfloat16"))
    assert identity.fingerprint(located) != identity.fingerprint(plain)


def test_a_tokenizer_of_the_other_generation_and_plain_weights_beside_a_quantization_bit_are_noted(
    tmp_path: Path,
) -> None:
    third = chatglm_tokenizers.folder(chatglm.save(tmp_path / "third"), 3)
    second = chatglm.save(tmp_path / "second", quantization_bit=4)
    notes = remarks.on_files(loading.locate(parse(f"{third},tokenizer={second}")))
    assert any("the model is a ChatGLM3, and its tokenizer that of a ChatGLM2" in note for note in notes)
    notes = remarks.on_files(loading.locate(parse(str(second))))
    assert [note for note in notes if "quantization_bit = 4, but the weights are plain" in note]
    assert not remarks.on_files(loading.locate(parse(str(third))))


def test_the_generation_of_the_tokenizer_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    folder = chatglm.save(tmp_path / "base")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "ChatGLMTokenizer"}')
    second, third = (loading.locate(parse(f"{folder},chatglm={number}")) for number in (2, 3))
    assert identity.fingerprint(second) != identity.fingerprint(third)
    unknown = loading.locate(parse(str(folder)))
    assert any("no file says whether this is a ChatGLM2" in note for note in remarks.on_files(unknown))
    before = identity.fingerprint(unknown)
    (folder / "tokenization_chatglm.py").write_text("role_special_tokens = ['<|user|>']")
    assert identity.fingerprint(loading.locate(parse(str(folder)))) not in (before, identity.fingerprint(second))


@pytest.mark.parametrize("generation", [1, 2, 3])
def test_a_template_that_writes_special_tokens_is_replaced_with_a_note(tmp_path: Path, generation: int) -> None:
    folder = chatglm.save_6b(tmp_path / "base") if generation == 1 else chatglm.save(tmp_path / "base")
    chatglm_tokenizers.folder(folder, generation, chat_template="[gMASK]sop{{ messages[0]['content'] }}")
    located = loading.locate(parse(str(folder)))
    tokenizer = loading.load_tokenizer(located)
    assert "[Round" in tokenizer.chat_template or "<|" in tokenizer.chat_template
    assert any("chat template writes special tokens" in note for note in remarks.on_files(located))
