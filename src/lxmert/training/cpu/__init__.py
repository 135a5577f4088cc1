"""Training on a CPU: the same steps as elsewhere, in fewer passes over memory."""
