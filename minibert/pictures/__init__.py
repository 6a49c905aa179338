"""Plots that show what a BERT does, for the lessons and for the reader's own models."""
