"""The prediction script of ChatGLM-6B's P-tuning."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from lm_eval.api.instance import Instance

from harness.tasks.protocols.base import ProtocolTask


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


class ChatGLMPredict(ProtocolTask):
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
        own = {"lengths": self.stated.lengths, "labels": self.doc_to_target(doc)}
        made.request_type = "chatglm_predict"
        made.arguments = (made.args[0], {**made.args[1], **own})
        return made
