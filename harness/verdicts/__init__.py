"""Comparing two checkpoints that answered the same documents, with error rates."""
