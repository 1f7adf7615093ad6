"""Requests as a prefix tree, and the packs that one forward pass computes."""
