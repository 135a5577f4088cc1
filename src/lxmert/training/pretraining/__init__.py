"""Pre-training on five tasks (paper section 3.3)."""
