"""Shared utilities: counter-based random numbers, files, progress bars, and annotations for command-line options."""
