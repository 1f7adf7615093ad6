"""Paired comparison of two checkpoints on the same documents, and verdicts with error rates."""
