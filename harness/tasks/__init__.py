"""Tasks: finding, building and describing them. The only room that uses lm-eval's task objects."""
