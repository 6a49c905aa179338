"""Tasks: data in standard formats, standard metrics, fine-tuning, and features."""
