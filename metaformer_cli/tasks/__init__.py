"""How examples become episodes."""
