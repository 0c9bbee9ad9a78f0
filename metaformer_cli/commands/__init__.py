"""One file a verb, each readable from top to bottom."""
