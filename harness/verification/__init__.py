"""Verification: what a report claims, computed again from its own files, its tasks and its checkpoint."""
