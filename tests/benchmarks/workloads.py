"""What the engine's benchmark asks: its lines, and the requests of each, as lm-eval's task objects build them.

Requests are built once, written to a file, and read by every process that answers them, so that all are asked the same
and none pays for building. A random model never stops of itself, so every generation carries the length of its answer:
the gold answer's where there is one, else drawn from a log-normal distribution.

Not here: answering (`sides`), comparing and reporting (`versus`).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lm_eval.api.instance import Instance

from harness.tasks.catalogue import Catalogue
from support import tiny

WORDS, MANY_WORDS = 32_000, 151_936
CONTEXT = 4096
SIZES = {
    "hidden_size": 512,
    "intermediate_size": 1376,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "initializer_range": 0.02,
}
SUBJECTS = (
    "abstract_algebra",
    "anatomy",
    "astronomy",
    "business_ethics",
    "clinical_knowledge",
    "college_computer_science",
    "econometrics",
    "high_school_us_history",
    "international_law",
    "logical_fallacies",
    "sociology",
    "world_religions",
)
ADVERTS, TEXTS = 512, 12
FULL_TOKEN_RATIO = 1.005


@dataclass(frozen=True)
class Asked:
    """One request: its lm-eval kind and arguments, the document it belongs to, and how long its answer is to be."""

    kind: str
    task: str
    document: int
    arguments: list[Any]
    answer: int = 0
    """Tokens to generate, the end token among them; 0 where nothing is generated."""

    def instance(self, at: int, most: int | None = None) -> Instance:
        """Return it as lm-eval passes it on; `most` replaces its own length as the limit of a generation."""
        arguments = tuple(self.arguments)
        if self.answer:
            text, how = arguments
            arguments = (text, {**how, "max_gen_toks": most or self.answer})
        return Instance(self.kind, {}, arguments, at, (self.task, self.document, 1))


class Line(NamedTuple):
    """One line of the table."""

    title: str
    build: Callable[[Path, int | None], list[Asked]]
    """Makes the requests of at most so many documents out of the data folder."""
    target: float | None = None
    """How many times faster than lm-eval it is to be."""
    token_ratio: float | None = FULL_TOKEN_RATIO
    """The most tokens through the backbone for every token that has to go through it."""
    vocabulary: int = WORDS
    documents: int | None = None
    """Documents of a line that is a sample by itself."""
    peer_documents: int = 64
    """Documents of lm-eval's sample."""
    search_documents: int = 32
    """Documents on which lm-eval's best batch size is looked for."""
    memory_share: float = 1.0
    """The most memory above the loaded model, as a share of lm-eval's."""


def of_tasks(
    names: list[str], shots: int | None = None, each: int | None = None
) -> Callable[[Path, int | None], list[Asked]]:
    """Return the builder of a line that is made of tasks, of the first `each` documents of each if there is a number.

    Documents left out are the last ones.
    """

    def build(data: Path, documents: int | None) -> list[Asked]:
        found: list[Asked] = []
        left = documents
        for name, loaded in Catalogue().load(names, data, num_fewshot=shots).tasks.items():
            task = loaded.lm_eval
            if left == 0:
                break
            task.build_all_requests(limit=each or left)
            lengths = _gold_lengths(task, data) if each is None and task.config.output_type == "generate_until" else {}
            for one in task.instances:
                answer = lengths.get(one.doc_id, 0)
                found.append(Asked(one.request_type, name, one.doc_id, list(one.args), answer))
            left = None if left is None else left - len({one.doc_id for one in task.instances})
        return found

    return build


def adverts(data: Path, documents: int | None) -> list[Asked]:
    """Prompts of 30 to 90 random tokens, answers of 20 to 150, most of them short, as in ADGEN."""
    chance, spell = random.Random(0), _Speller(data)
    asked = []
    for i in range(min(ADVERTS, documents or ADVERTS)):
        prompt = spell(chance, chance.randint(30, 90))
        answer = min(150, max(20, round(chance.lognormvariate(4.0, 0.5))))
        asked.append(Asked("generate_until", "adverts", i, [prompt, {"until": [], "do_sample": False}], answer))
    return asked


def texts(data: Path, documents: int | None) -> list[Asked]:
    """Whole texts of 500 to 9,000 random tokens, some of them longer than the context."""
    chance, spell = random.Random(0), _Speller(data)
    lengths = [round(500 * 18 ** (i / (TEXTS - 1))) for i in range(TEXTS)]
    asked = [Asked("loglikelihood_rolling", "texts", i, [spell(chance, n)]) for i, n in enumerate(lengths)]
    return asked[:documents]


LINES = {
    "ceval": Line("C-Eval val, 5-shot, all subjects", of_tasks(["ceval"], 5), 8, peer_documents=104),
    "mmlu": Line(
        "MMLU 5-shot, 12 subjects whole", of_tasks([f"mmlu_{name}" for name in SUBJECTS], 5), 8, peer_documents=96
    ),
    "c3": Line("C3 dev, 0-shot, choice texts", of_tasks(["c3"]), 8, peer_documents=96, search_documents=16),
    "cmnli": Line("CMNLI, 3 choices, 0-shot", of_tasks(["cmnli"]), 3, peer_documents=480),
    "gsm8k": Line("GSM8K, 8 fixed shots, generation", of_tasks(["gsm8k_fixed"]), 3, peer_documents=64),
    "adgen": Line("ADGEN-like generation, nothing shared", adverts, 1.5, token_ratio=None, peer_documents=256),
    "vocabulary": Line(
        f"C-Eval as above, 260 documents, {MANY_WORDS:,} words",
        of_tasks(["ceval"], 5),
        vocabulary=MANY_WORDS,
        documents=260,
        peer_documents=40,
        search_documents=16,
        memory_share=1 / 3,
    ),
    "perplexity": Line(
        f"Perplexity of {TEXTS} texts of 500 to 9,000 tokens", texts, peer_documents=TEXTS, search_documents=6
    ),
}


def model(folder: Path, data: Path, vocabulary: int) -> Path:
    """Save the benchmark's model of `vocabulary` words in `folder`; return it.

    The end token's logit is always 0, and so never the largest of so many: no answer ends of itself.
    """
    from transformers import AutoModelForCausalLM

    tiny.llama(folder, tiny.bench_tokenizer(data), context=CONTEXT, vocab_size=vocabulary, **SIZES)
    made = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        made.get_output_embeddings().weight[made.config.eos_token_id] = 0
    made.save_pretrained(folder)
    return folder


def write(asked: list[Asked], file: Path) -> None:
    """Write requests as JSON."""
    file.write_text(json.dumps([asdict(one) for one in asked], ensure_ascii=False), encoding="utf-8")


def read(file: Path) -> list[Asked]:
    """Read what `write` wrote."""
    return [Asked(**one) for one in json.loads(file.read_text(encoding="utf-8"))]


def _gold_lengths(task: Any, data: Path) -> dict[int, int]:
    """Return by document how many tokens its gold answer has, with the token that ends it."""
    docs = {one.doc_id: one.doc for one in task.instances}
    golds = [f"{task.config.target_delimiter}{task.doc_to_target(doc)}" for doc in docs.values()]
    ids = tiny.bench_tokenizer(data)(golds)["input_ids"]
    return {document: len(gold) + 1 for document, gold in zip(docs, ids, strict=True)}


class _Speller:
    """Texts of random tokens that are whole characters each."""

    def __init__(self, data: Path) -> None:
        self._tokenizer = tiny.bench_tokenizer(data)
        texts = self._tokenizer.batch_decode([[i] for i in range(len(self._tokenizer))])
        special = set(self._tokenizer.all_special_ids)
        self._ids = [i for i, text in enumerate(texts) if i not in special and text.strip() and "\ufffd" not in text]

    def __call__(self, chance: random.Random, tokens: int) -> str:
        return str(self._tokenizer.decode(chance.choices(self._ids, k=tokens)))
