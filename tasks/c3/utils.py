"""C3's requests by perplexity."""

from harness.tasks.protocols.perplexity import Perplexity

__all__ = ["Perplexity"]
