"""The typed schema of every group; composing, checking and reading configurations. No torch."""
