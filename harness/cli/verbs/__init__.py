"""One short file a verb: parse, call the library, print."""
