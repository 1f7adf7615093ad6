"""Prompts to continuations."""
