"""Fine-tuning, evaluation, and the official metrics."""
