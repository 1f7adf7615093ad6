"""lm-eval task classes for protocols that ask a checkpoint what lm-eval has no request for.

A task names one with `class:` in its YAML, but for those made of files (`FromFile`). Most change the kind of
their requests, which are methods of `harness.engine.lm.HarnessLM`; everything else is lm-eval's `ConfigurableTask`.
lm-eval's own models lack those methods, so run by them such a task stops, rather than being scored by another
definition under the same name. `Consultation` generates as lm-eval does.

Not here: prompts and labels (`tasks/`), or how requests are answered (`harness.engine`).
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean
from lm_eval.api.task import ConfigurableTask
from lm_eval.utils import apply_template

from harness.errors import HarnessError
from harness.metrics import consultation
from harness.metrics.aggregate import ratio
from harness.metrics.generation import best


class Task(ConfigurableTask):  # type: ignore[misc]
    """lm-eval's task, made of a configuration that may name a class."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config={key: value for key, value in config.items() if key != "class"})


class Perplexity(Task):
    """Multiple choice by the perplexity of whole texts, as OpenCompass's `PPLInferencer` defines it.

    Each choice makes one text of prompt and answer; the least mean negative log-likelihood per token wins, the first of
    equals (`HarnessLM.mean_loglikelihood`). Where the prompt differs between choices, it is left empty and the choices
    are the whole texts.
    """

    def construct_requests(self, doc: dict[str, Any], ctx: Any, **kwargs: Any) -> list[Instance]:
        """Return a request for each choice's whole text."""
        made: list[Instance] = super().construct_requests(doc, ctx, **kwargs)
        for request in made:
            request.request_type = "mean_loglikelihood"
        return made


class ThinkThenChoose(Task):
    """Two dependent requests in one: reason in words, then choose a letter after reading them.

    As THUDM/ChatGLM2-6B's evaluation/evaluate_ceval.py does it (`HarnessLM.think_then_choose`). `metadata.then` holds
    the second prompt as two templates, what stands before the chain of thought and what stands after it.
    """

    def construct_requests(self, doc: dict[str, Any], ctx: Any, **kwargs: Any) -> Instance:
        """Return the one request: the first prompt, and how to go on."""
        made: Instance = super().construct_requests(doc, ctx, **kwargs)
        before, after = (apply_template(part, doc) for part in self.config.metadata["then"])
        made.request_type = "think_then_choose"
        made.arguments = (made.args[0], {**made.args[1], "then": [before, after]})
        return made


@dataclass(frozen=True)
class Chunk:
    """Prompts that upstream pads to one length."""

    texts: tuple[str, ...]

    @functools.cached_property
    def digest(self) -> str:
        """A hash of the prompts."""
        return hashlib.sha256(json.dumps(self.texts).encode()).hexdigest()

    def __str__(self) -> str:
        """Return what stands for the prompts where a request is written down."""
        return f"{len(self.texts)} prompts {self.digest}"


class ChatGLMPredict(Task):
    """Generation as THUDM/ChatGLM-6B's ptuning/main.py --do_predict does it (`HarnessLM.chatglm_predict`).

    An answer is a line of its generated_predictions.txt, `{"labels": …, "predict": …}`, so that such a file can be
    scored in its place. `metadata.lengths` holds the limits in tokens; documents of one `chunk` are padded together,
    whichever of them are asked.
    """

    def build_all_requests(self, *, limit: int | None = None, **how: Any) -> None:
        """Build the requests of all documents, since those beyond `limit` decide how far the others are padded."""
        super().build_all_requests(limit=None, **how)
        made: list[Instance] = self.instances
        members: dict[int, list[Instance]] = {}
        for request in made:
            members.setdefault(request.doc["chunk"], []).append(request)
        for requests in members.values():
            chunk = Chunk(tuple(request.args[0] for request in requests))
            for request in requests:
                request.arguments = (request.args[0], {**request.args[1], "chunk": chunk})
        self._instances = made[:limit]

    def construct_requests(self, doc: dict[str, Any], ctx: Any, **kwargs: Any) -> Instance:
        """Return the one request: the prompt, the settings, and what upstream cuts."""
        made: Instance = super().construct_requests(doc, ctx, **kwargs)
        own = {"lengths": self.config.metadata["lengths"], "labels": self.doc_to_target(doc)}
        made.request_type = "chatglm_predict"
        made.arguments = (made.args[0], {**made.args[1], **own})
        return made


class FromFile(Task):
    """A task made of documents that are already here."""

    def __init__(self, config: dict[str, Any], documents: Sequence[dict[str, Any]]) -> None:
        self._documents = documents
        super().__init__(config)

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **_: Any) -> None:
        """Take the documents as the data set, in place of one that lm-eval would fetch."""
        from datasets import Dataset

        self.dataset = {"test": Dataset.from_list(list(self._documents))}


class Answers(FromFile):
    """Answers in words, compared with a document's accepted `answers` by each of `metadata.metrics`.

    A document may hold `turns`, the conversation that leads up to its answer: with a chat template they are turns of
    the prompt, else `prompt` holds them as text.
    """

    def fewshot_context(
        self,
        doc: dict[str, Any],
        num_fewshot: int,
        system_instruction: str | None = None,
        apply_chat_template: bool = False,
        fewshot_as_multiturn: bool = False,
        chat_template: Callable[..., str] | None = None,
        gen_prefix: str | None = None,
    ) -> Any:
        """Return the prompt: a conversation as turns, anything else as lm-eval renders it."""
        turns = list(doc.get("turns") or [])
        if len(turns) < 2 or not apply_chat_template or chat_template is None:
            return super().fewshot_context(
                doc,
                num_fewshot,
                system_instruction,
                apply_chat_template,
                fewshot_as_multiturn,
                chat_template,
                gen_prefix,
            )
        if system_instruction:
            own = turns.pop(0)["content"] if turns[0]["role"] == "system" else ""
            told = "\n\n".join(text for text in (system_instruction, own) if text)
            turns.insert(0, {"role": "system", "content": told})
        return chat_template(turns, add_generation_prompt=True)

    def construct_requests(self, doc: dict[str, Any], ctx: Any, **kwargs: Any) -> Instance:
        """Return the one request; after examples, `metadata.stops_after_shots` end an answer, too."""
        made: Instance = super().construct_requests(doc, ctx, **kwargs)
        if self.config.num_fewshot:
            prompt, settings = made.arguments
            until = [*settings["until"], *self.config.metadata["stops_after_shots"]]
            made.arguments = (prompt, {**settings, "until": until})
        return made

    def process_results(self, doc: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
        """Return the best score against any accepted answer, metric by metric."""
        return {name: best(name, results[0], doc["answers"]) for name in self._metrics}

    def aggregation(self) -> dict[str, Callable[..., float]]:
        """Return how documents make a number: their mean."""
        return dict.fromkeys(self._metrics, mean)

    def higher_is_better(self) -> dict[str, bool]:
        """Return that more is better."""
        return dict.fromkeys(self._metrics, True)

    @property
    def _metrics(self) -> list[str]:
        return list(self.config.metadata["metrics"])


class BitsPerCharacter(FromFile):
    """The bits a checkpoint needs to write down texts, per character (Unicode code point) and per UTF-8 byte.

    Every token of a text is predicted once, the first from BOS (EOS where there is none). A text longer than the
    context is read in windows that move by `stride` tokens (`HarnessLM.loglikelihood_sliding`). Means are over
    characters, not over texts.
    """

    def construct_requests(self, doc: dict[str, Any], ctx: Any, **kwargs: Any) -> list[Instance]:
        """Return the one request: the text, and by how many tokens windows move."""
        asked = (doc["text"], {"stride": self.config.metadata.get("stride")})
        kept = {key: value for key, value in kwargs.items() if key in ("metadata", "repeats")}
        return [Instance(request_type="loglikelihood_sliding", doc=doc, arguments=asked, idx=0, **kept)]

    def process_results(self, doc: dict[str, Any], results: Sequence[float]) -> dict[str, tuple[float, int]]:
        """Return bits beside the characters, and the bytes, that they are for."""
        bits, text = -float(results[0]) / math.log(2), doc["text"]
        return {"bits_per_character": (bits, len(text)), "bits_per_byte": (bits, len(text.encode()))}

    def aggregation(self) -> dict[str, Callable[..., float]]:
        """Return how texts make a number: the sum of bits by the sum of characters."""
        return {"bits_per_character": ratio, "bits_per_byte": ratio}

    def higher_is_better(self) -> dict[str, bool]:
        """Return that fewer bits are better."""
        return {"bits_per_character": False, "bits_per_byte": False}


class Consultation(Task):
    """A legal question, asked with articles of law in the prompt, whose answer is scored by what it cites.

    Documents have a `query`, the articles that the data provide as `laws`, and a lawyer's `response`. Those `given` in
    the prompt are the first `metadata.articles` of `metadata.given`, which names a column or is null, or of others that
    a run brings (`use_articles`): documents stay what they are, so that answers with and without articles are answers
    to the same documents, and their prompts tell them apart.
    """

    _retrieved: Mapping[str, Sequence[str]] | None = None

    def use_articles(self, retrieved: Mapping[str, Sequence[str]]) -> None:
        """Give, from now on, the articles that `retrieved` has for a document's query, in place of the task's own.

        Raises HarnessError where it has none for one, which is not the same as an empty list.
        """
        missing = [doc["query"] for doc in self.eval_docs if doc["query"] not in retrieved]
        if missing:
            raise HarnessError(
                f"there are no articles for {len(missing):,} of the {len(self.eval_docs):,} questions of task "
                f"{self.config.task}, such as '{missing[0][:30]}': retrieve for them, too"
            )
        self._retrieved = retrieved

    def given(self, doc: dict[str, Any]) -> list[str]:
        """Return the articles in the prompt of `doc`."""
        metadata = self.config.metadata
        if self._retrieved is not None:
            found = self._retrieved[doc["query"]]
        else:
            found = doc[metadata["given"]] if metadata["given"] else ()
        return list(found[: metadata["articles"]])

    def doc_to_text(self, doc: dict[str, Any], doc_to_text: Any = None) -> Any:
        """Return the prompt, with the articles that are given."""
        return super().doc_to_text({**doc, "given": self.given(doc)}, doc_to_text)

    def process_results(self, doc: dict[str, Any], results: Sequence[str]) -> dict[str, Any]:
        """Return what the task's own function tells of an answer, which it is given beside `given` and `library`."""
        asked = {**doc, "given": self.given(doc), "library": self._library}
        scores: dict[str, Any] = super().process_results(asked, results)
        return scores

    @functools.cached_property
    def _library(self) -> consultation.Library:
        """What the data say of articles, all documents together, whatever the limit of a run."""
        return consultation.Library(text for doc in self.eval_docs for text in doc["laws"])
