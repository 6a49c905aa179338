"""Fine-tuning tasks: reading data in standard formats, encoding it as features, fine-tuning, metrics and prediction."""
