"""C3's requests by perplexity."""

from harness.protocols import Perplexity

__all__ = ["Perplexity"]
