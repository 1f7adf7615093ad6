"""From prompts to continuations."""
