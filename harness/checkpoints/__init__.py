"""What can be evaluated: a reference is parsed, loaded, identified by its content, and proved to answer."""
