"""Adapters: their configuration, attaching them to a base, prompt learning, and merging."""
