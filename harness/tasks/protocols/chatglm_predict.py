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
    """The prompts that ChatGLM's script processes together, and so pads to one length."""

    texts: tuple[str, ...]

    @functools.cached_property
    def digest(self) -> str:
        """The sha256 of the prompts."""
        return hashlib.sha256(json.dumps(self.texts).encode()).hexdigest()

    def __str__(self) -> str:
        """Return the text that replaces the prompts when a request is written to a file."""
        return f"{len(self.texts)} prompts {self.digest}"


class ChatGLMPredict(ProtocolTask):
    """Generation as in THUDM/ChatGLM-6B's ptuning/main.py --do_predict (`request_kinds.chatglm_predict`).

    An answer is a line of that script's generated_predictions.txt, `{"labels": …, "predict": …}`, so that such a file
    can be scored in place of new answers. `metadata.lengths` has the limits in tokens. Documents with the same `chunk`
    are padded together, even if not all of them are evaluated.
    """

    def build_all_requests(self, *, limit: int | None = None, **settings: Any) -> None:
        """Build the requests of the first `limit` documents; prompts are still padded as in their whole `chunk`."""
        super().build_all_requests(limit=None, **settings)
        instances: list[Instance] = self.instances
        members: dict[int, list[Instance]] = {}
        for request in instances:
            members.setdefault(request.doc["chunk"], []).append(request)
        for requests in members.values():
            chunk = Chunk(tuple(request.args[0] for request in requests))
            for request in requests:
                request.arguments = (request.args[0], {**request.args[1], "chunk": chunk})
        self._instances = instances[:limit]

    def construct_requests(self, doc: dict[str, Any], ctx: object, **kwargs: object) -> Instance:
        """Return the one request: the prompt and generation settings, with the limits in tokens and the reference."""
        request: Instance = super().construct_requests(doc, ctx, **kwargs)
        more = {"lengths": self.require("lengths").lengths, "labels": self.doc_to_target(doc)}
        request.request_type = "chatglm_predict"
        request.arguments = (request.args[0], {**request.args[1], **more})
        return request

    def empty_answer(self, doc: dict[str, Any]) -> str:
        """Return the line of generated_predictions.txt for an empty answer to `doc`."""
        return json.dumps({"labels": self.doc_to_target(doc), "predict": ""}, ensure_ascii=False)
