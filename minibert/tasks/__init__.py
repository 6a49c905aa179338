"""Tasks: their data in its standard formats, the field's own metrics, fine-tuning and features."""
