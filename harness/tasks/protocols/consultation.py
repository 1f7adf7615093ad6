"""Legal questions with articles of law in the prompt."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import HarnessError
from harness.metrics.law import consultation
from harness.tasks.protocols.base import ProtocolTask


class Consultation(ProtocolTask):
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
        metadata = self.stated
        if self._retrieved is not None:
            found = self._retrieved[doc["query"]]
        else:
            found = doc[metadata.given] if metadata.given else ()
        return list(found[: metadata.articles])

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
