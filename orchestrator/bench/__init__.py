"""Benchmarks: the farm side by side with what it must beat, in one run."""
