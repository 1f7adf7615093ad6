"""Tasks: finding, building and describing them. The only package that uses lm-eval's task objects."""
