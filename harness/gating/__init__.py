"""Gates that evaluate a candidate in blocks until the verdict is clear, or judge whole reports."""
