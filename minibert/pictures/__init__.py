"""Pictures of what a BERT does: for the lessons, and for your own runs."""
