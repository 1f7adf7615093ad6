"""Python code in a checkpoint runs only with `trust_remote_code=true`."""

from __future__ import annotations

import pytest
import torch
from transformers import dynamic_module_utils

from harness.checkpoints import inspection, loading
from harness.checkpoints.reference import parse
from harness.errors import HarnessError
from support.tampering import load, logits, plain, refusal, set_json

CODE = """
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM

Path({canary!r}).touch()

class SparkleConfig(LlamaConfig):
    model_type = "sparkle"

class SparkleForCausalLM(LlamaForCausalLM):
    config_class = SparkleConfig

    def forward(self, *args, **kwargs):
        output = super().forward(*args, **kwargs)
        output.logits = output.logits * 2
        return output
"""


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """The file that the code in `sparkle` creates when it runs."""
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    return tmp_path / "canary"


@pytest.fixture
def sparkle(copy, canary):
    """A copy of the base with code of its own, which doubles the logits."""
    (copy / "modeling_sparkle.py").write_text(CODE.format(canary=str(canary)))
    names = {"AutoConfig": "SparkleConfig", "AutoModelForCausalLM": "SparkleForCausalLM"}
    auto_map = {auto: f"modeling_sparkle.{name}" for auto, name in names.items()}
    set_json(copy / "config.json", model_type="sparkle", auto_map=auto_map)
    return copy


@pytest.mark.parametrize("keys", ["", ",trust_remote_code=false"])
def test_code_does_not_run_by_default_and_the_message_says_how_to_run_it(sparkle, canary, keys):
    assert refusal(f"{sparkle}{keys}").endswith("to run that code, add trust_remote_code=true")
    assert not canary.exists()


def test_code_runs_if_the_reference_says_so(sparkle, canary, base):
    checkpoint = load(f"{sparkle},trust_remote_code=true")
    assert canary.exists()
    assert torch.equal(logits(checkpoint.model), plain(base) * 2)


def test_a_known_architecture_does_not_run_the_code_beside_it(sparkle, canary, base):
    set_json(sparkle / "config.json", model_type="llama")
    assert torch.equal(logits(load(sparkle).model), plain(base))
    assert not canary.exists()


def test_code_of_a_tokenizer_does_not_run_by_default(copy, canary):
    (copy / "tokenization_sparkle.py").write_text(f"from pathlib import Path\nPath({str(canary)!r}).touch()\n")
    settings = {"tokenizer_class": "Sparkle", "auto_map": {"AutoTokenizer": ["tokenization_sparkle.Sparkle", None]}}
    set_json(copy / "tokenizer_config.json", **settings)
    assert "add trust_remote_code=true" in refusal(copy)
    assert not canary.exists()


BROKEN = {
    "import": "raise KeyError('gone in this version')",
    "configuration": CODE
    + """
SparkleConfig.__init__ = lambda self, **settings: self.gone_in_this_version
""",
    "model": CODE
    + """
SparkleForCausalLM.__init__ = lambda self, config: config.gone_in_this_version
""",
    "embeddings": CODE
    + """
SparkleForCausalLM.get_input_embeddings = lambda self: self.gone_in_this_version
""",
    "weights": CODE
    + """
SparkleForCausalLM.tie_weights = lambda self, *a, **k: self.gone_in_this_version
""",
    "forward": CODE
    + """
SparkleForCausalLM.forward = lambda self, *a, **k: self.gone_in_this_version
""",
}


@pytest.mark.parametrize("place", BROKEN)
def test_code_that_fails_anywhere_ends_in_one_sentence_with_its_last_line(sparkle, canary, place):
    (sparkle / "modeling_sparkle.py").write_text(BROKEN[place].replace("{canary!r}", repr(str(canary))))
    reference = parse(f"{sparkle},trust_remote_code=true")
    with pytest.raises(HarnessError, match=r"(?i)gone[ _]in[ _]this[ _]version") as load_error:
        loading.load(loading.locate(reference))
    assert sparkle.name in str(load_error.value)
    assert "fetch or save the checkpoint again" not in str(load_error.value)
    if place not in ("weights", "forward"):
        with pytest.raises(HarnessError, match=r"(?i)gone[ _]in[ _]this[ _]version"):
            inspection.facts(loading.locate(reference))


@pytest.mark.parametrize("place", ["__init__", "_tokenize", "__len__"])
def test_code_of_a_tokenizer_that_fails_ends_in_one_sentence(copy, canary, place):
    code = f"""
from transformers import PreTrainedTokenizer

class Sparkle(PreTrainedTokenizer):
    def {place}(self, *a, **k):
        return self.gone_in_this_version
"""
    (copy / "tokenization_sparkle.py").write_text(code)
    settings = {"tokenizer_class": "Sparkle", "auto_map": {"AutoTokenizer": ["tokenization_sparkle.Sparkle", None]}}
    set_json(copy / "tokenizer_config.json", **settings)
    with pytest.raises(HarnessError):
        loading.load(loading.locate(parse(f"{copy},trust_remote_code=true")))


def test_the_code_of_a_chatglm_is_not_needed(sparkle):
    (sparkle / "modeling_sparkle.py").write_text("raise RuntimeError('gone')")
    set_json(sparkle / "config.json", model_type="chatglm")
    message = refusal(f"{sparkle},trust_remote_code=true")
    assert message.endswith(
        "(RuntimeError: gone): leave trust_remote_code out, since ChatGLM is loaded without its code"
    )


def test_code_that_fails_is_refused_with_its_own_error(sparkle):
    (sparkle / "modeling_sparkle.py").write_text("raise RuntimeError('no trust_remote_code will help')")
    message = refusal(f"{sparkle},trust_remote_code=true")
    assert "no trust_remote_code will help" in message
    assert "add trust_remote_code" not in message
