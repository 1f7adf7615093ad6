"""Requests as a prefix tree, and its packs, each computed by one forward pass."""
