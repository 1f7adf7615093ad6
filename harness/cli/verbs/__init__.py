"""The verbs, one short file each: parse, call the library, print."""
