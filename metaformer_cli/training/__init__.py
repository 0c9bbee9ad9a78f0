"""The outer loop, and what it keeps: the optimiser, checkpoints, metrics, evaluation."""
