"""lm-eval's own HF model at batch size 1 without its logits cache, beside our engine, on the same requests."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from harness.backends.local import HarnessLM
from harness.checkpoints import files, loading, origin
from harness.checkpoints.adapters import config
from harness.checkpoints.reference import CheckpointReference
from harness.engine.decoding import settings
from harness.tasks.catalogue import Catalogue
from harness.tasks.task import FEWSHOT_SEED
from harness.tasks.task_set import TaskSet
from tolerances import FP32_LOGLIKELIHOOD


class Comparison(NamedTuple):
    """How two answer lists differ."""

    requests: int
    largest: float | None
    """Largest absolute difference of log-likelihoods; None for generations."""
    decisions: int
    """Greedy flags or generated texts that differ, except for ties."""
    ties: int = 0
    """Generated texts that differ from a token on whose logit equals the best one's within the tolerance."""

    @property
    def cell(self) -> str:
        """The decisions and ties as a report shows them."""
        return f"{self.decisions} ({self.ties} ties)" if self.ties else str(self.decisions)


def ours(folder: Path, quantize: str | None = None) -> HarnessLM:
    """The checkpoint in `folder` on our engine."""
    return HarnessLM(loading.load(loading.locate(CheckpointReference(str(folder), quantize=quantize))))


def theirs(folder: Path, quantize: str | None = None) -> Any:
    """The checkpoint in `folder` on lm-eval's HFLM; quantised, as transformers and PEFT load it."""
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer

    from support.architectures import Oracle

    how = {"device": "cpu", "dtype": "float32", "batch_size": 1, "logits_cache": False}
    if quantize:  # HFLM's own keywords for it are not transformers 5's
        base = Path(origin.base_of(config.read(folder)).path) if files.is_adapter(folder) else folder
        loaded = Oracle(base, folder if files.is_adapter(folder) else None, quantize).model
        words = AutoTokenizer.from_pretrained(base)
        return HFLM(loaded, tokenizer=words, batch_size=1, logits_cache=False)
    if files.is_adapter(folder):
        return HFLM(origin.base_of(config.read(folder)).path, peft=str(folder), **how)
    return HFLM(str(folder), **how)


def requests(tasks: TaskSet, documents: int) -> list[Any]:
    """The requests of `documents` documents, spread over all of `tasks` as evenly as it goes."""
    all_tasks = list(tasks.tasks.values())
    found: list[Any] = []
    for place, task in enumerate(all_tasks):
        share = documents * (place + 1) // len(all_tasks) - documents * place // len(all_tasks)
        if share:
            found += task.build_requests(limit=share)
    assert len({(i.task_name, i.doc_id) for i in found}) == documents
    return found


def compare(mine: HarnessLM, peer: Any, instances: Sequence[Any]) -> Comparison:
    """Put `instances` (all of one request type) to both."""
    kind = instances[0].request_type
    # HFLM adds its EOS to the very list of stop strings that it is given.
    a = getattr(mine, kind)(copy.deepcopy(list(instances)))
    b = getattr(peer, kind)(copy.deepcopy(list(instances)), disable_tqdm=True)
    if kind == "generate_until":
        unequal = [(one, x) for one, x, y in zip(instances, a, b, strict=True) if x != y]
        ties = sum(is_tie(peer, one, text) for one, text in unequal)
        return Comparison(len(a), None, len(unequal) - ties, ties)
    largest = max(abs(x[0] - y[0]) for x, y in zip(a, b, strict=True))
    return Comparison(len(a), largest, sum(x[1] != y[1] for x, y in zip(a, b, strict=True)))


def is_tie(peer: Any, instance: Any, text: str) -> bool:
    """Return whether `text` leaves the peer's greedy text at its second best token, by a difference of rounding."""
    prompt, new = list(peer.tok_encode(instance.args[0])), list[int]()
    for _ in range(settings.max_tokens(instance.args[1])):
        with torch.inference_mode():
            (best, second), tokens = peer.model(torch.tensor([prompt + new])).logits[0, -1].float().topk(2)
        following, other = (peer.tokenizer.decode([*new, int(token)]).rstrip("\ufffd") for token in tokens)
        if not text.startswith(following):
            return float(best - second) <= FP32_LOGLIKELIHOOD and text.startswith(other)
        new.append(int(tokens[0]))
    return False


def stock(name: str, data: Path, *, whole_tree: bool) -> dict[str, Any]:
    """lm-eval's own tasks under `name`, on the mirror, as `simple_evaluate` sets them up."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    folder = Path(str(lm_eval.__file__)).parent / "tasks" / name.split("_")[0]
    manager = TaskManager() if whole_tree else TaskManager(include_defaults=False, include_path=str(folder))
    entry = manager.task_index[name]
    dataset = next(iter(Catalogue().sources([name], data).values())).dataset
    built = manager._factory.build(entry, overrides={"dataset_path": str(data / dataset)}, registry=manager.task_index)
    tasks = built.get_all_tasks() if hasattr(built, "get_all_tasks") else [built]
    for task in tasks:
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=FEWSHOT_SEED)
    return {task.config.task: task for task in tasks}


def arguments(task: Any, limit: int | None = None) -> list[Any]:
    """Everything that `task` would send to a model, in order."""
    task.build_all_requests(limit=limit)
    return [instance.args for instance in task.instances]


os.environ.setdefault("TQDM_DISABLE", "1")
