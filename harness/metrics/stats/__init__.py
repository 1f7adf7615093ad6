"""Means, intervals and agreement."""
