"""Legal questions with articles of law in the prompt."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.metrics.law import consultation
from harness.tasks.protocols.base import ProtocolTask


class Consultation(ProtocolTask):
    """A legal question, with articles of law in its prompt, whose answer is scored by the articles that it cites.

    Documents have a `query`, the articles that the data provide as `laws`, and a lawyer's `response`. The prompt has
    the first articles, at most `metadata.articles` of them, that a run provides (`use_articles`). If a run provides
    none, they come from the column `metadata.given` of the document; null means no articles. Documents stay unchanged,
    so that answers with and without articles are answers to the same documents, distinguished only by their prompts.
    """

    _retrieved: Mapping[str, Sequence[str]] | None = None

    def use_articles(self, retrieved: Mapping[str, Sequence[str]]) -> None:
        """Use, from now on, the articles that `retrieved` has for a document's query, instead of those in the data.

        Raises HarnessError if a query has no entry; an entry may be an empty list.
        """
        missing = [doc["query"] for doc in self.eval_docs if doc["query"] not in retrieved]
        if missing:
            raise HarnessError(
                f"there are no articles for {len(missing):,} of the {len(self.eval_docs):,} questions of task "
                f"{self.config.task}, such as '{missing[0][:30]}': retrieve articles for these questions too"
            )
        self._retrieved = retrieved

    def given(self, doc: dict[str, Any]) -> list[str]:
        """Return the articles in the prompt of `doc`."""
        metadata = self.require("articles", "given")
        if self._retrieved is not None:
            articles = self._retrieved[doc["query"]]
        else:
            articles = doc[metadata.given] if metadata.given else ()
        return list(articles[: metadata.articles])

    def doc_to_text(self, doc: dict[str, Any], doc_to_text: Any = None) -> Any:
        """Return the prompt; its template gets the articles as `given`."""
        return super().doc_to_text({**doc, "given": self.given(doc)}, doc_to_text)

    def process_results(self, doc: dict[str, Any], results: Sequence[str]) -> dict[str, Any]:
        """Return the scores of the task's own function, to which the document is passed with `given` and `library`."""
        document = {**doc, "given": self.given(doc), "library": self._library}
        scores: dict[str, Any] = super().process_results(document, results)
        return scores

    @functools.cached_property
    def _library(self) -> consultation.Library:
        """The articles of all documents together, whatever the limit of a run."""
        return consultation.Library(text for doc in self.eval_docs for text in doc["laws"])
