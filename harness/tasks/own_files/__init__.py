"""Tasks made of a person's own files."""
