"""Memory and time of loading a folder in ChatGLM's published layout: 4 GB in shards, in both formats.

A fresh process loads the folder in float16; its peak of resident memory, less that before loading, is compared with the
bytes of the model and of one shard.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from support import chatglm, chatglm_tokenizers

pytestmark = pytest.mark.bench
SHARD_BYTES = 1 << 30
SIZES = {
    "num_layers": 7,
    "padded_vocab_size": 65024,
    "hidden_size": 4096,
    "ffn_hidden_size": 13696,
    "kv_channels": 128,
    "num_attention_heads": 32,
    "multi_query_group_num": 2,
}
"""The widths of ChatGLM2-6B, with a quarter of its layers."""
LOAD = """
import json, resource, sys, time
from harness.checkpoints import loading, weights
from harness.checkpoints.reference import parse
import transformers.models.glm.modeling_glm

located = loading.locate(parse(sys.argv[1]))
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
before, started = resident(), time.perf_counter()
model = weights.load(located).model
seconds = time.perf_counter() - started
size = sum(weight.nbytes for weight in model.parameters())
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
print(json.dumps({"peak": peak, "model": size, "seconds": seconds}))
"""


def published_folder(folder: Path, suffix: str) -> tuple[Path, int]:
    """Write the folder in shards, and return it with the bytes of its largest shard."""
    folder.mkdir()
    layers = [f"transformer.encoder.layers.{i}." for i in range(SIZES["num_layers"])]
    hidden, inner = SIZES["hidden_size"], SIZES["ffn_hidden_size"]
    shapes = {
        "self_attention.query_key_value.weight": (4608, hidden),
        "self_attention.query_key_value.bias": (4608,),
        "self_attention.dense.weight": (hidden, hidden),
        "mlp.dense_h_to_4h.weight": (2 * inner, hidden),
        "mlp.dense_4h_to_h.weight": (hidden, inner),
        "input_layernorm.weight": (hidden,),
        "post_attention_layernorm.weight": (hidden,),
    }
    tensors = {"transformer.embedding.word_embeddings.weight": (65024, hidden)}
    tensors |= {f"{layer}{part}": shape for layer in layers for part, shape in shapes.items()}
    tensors |= {
        "transformer.encoder.final_layernorm.weight": (hidden,),
        "transformer.output_layer.weight": (65024, hidden),
    }
    shards: list[dict[str, torch.Tensor]] = [{}]
    sizes = [0]
    for number, (name, shape) in enumerate(tensors.items()):
        tensor = torch.full(shape, 1 + number / 64, dtype=torch.float16)
        if sizes[-1] + tensor.nbytes > SHARD_BYTES:
            write(folder, len(shards) - 1, shards[-1], suffix)
            shards[-1] = dict.fromkeys(shards[-1])  # written: only the names are needed
            shards.append({})
            sizes.append(0)
        shards[-1][name] = tensor
        sizes[-1] += tensor.nbytes
    write(folder, len(shards) - 1, shards[-1], suffix)
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    index = {name: shard_name(i, suffix) for i, shard in enumerate(shards) for name in shard}
    (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps({"weight_map": index}))
    (folder / "config.json").write_text(json.dumps({**chatglm.CONFIG, **SIZES, "torch_dtype": "float16"}))
    return chatglm_tokenizers.folder(folder, 2), max(sizes)


def shard_name(number: int, suffix: str) -> str:
    return f"shard-{number}.{suffix}"


def write(folder: Path, number: int, tensors: dict[str, torch.Tensor], suffix: str) -> None:
    file = folder / shard_name(number, suffix)
    save_file(tensors, file) if suffix == "safetensors" else torch.save(tensors, file)


@pytest.mark.parametrize("suffix", ["bin", "safetensors"])
def test_loading_takes_the_model_and_a_shard(tmp_path: Path, suffix: str) -> None:
    folder, shard = published_folder(tmp_path / "model", suffix)
    command = [sys.executable, "-c", LOAD, f"{folder},dtype=float16"]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    print(
        f"\n*.{suffix}: {result['model']:,} bytes of weights in shards of at most {shard:,}, read in "
        f"{result['seconds']:.1f} s; peak of memory {result['peak']:,} bytes, "
        f"{result['peak'] / result['model']:.2f} times the weights"
    )
    assert result["model"] <= result["peak"] <= result["model"] + 1.1 * shard
