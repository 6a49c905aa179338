"""Utilities for every package: counter-based random numbers, files, progress bars, notes on options."""
