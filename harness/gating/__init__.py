"""Asking a candidate in blocks until the verdict is clear."""
