"""The protocol of C3 by perplexity."""

from harness.tasks.protocols.perplexity import Perplexity

__all__ = ["Perplexity"]
