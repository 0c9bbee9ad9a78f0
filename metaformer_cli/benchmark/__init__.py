"""Measuring meta-gradients: processes that take turns, what they measure, and the report."""
