"""Checkpoints: parsed from a reference, located, loaded, identified by content, and proved to answer."""
