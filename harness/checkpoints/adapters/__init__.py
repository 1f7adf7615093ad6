"""Adapters: putting them on a base, proving them, merging them into it."""
