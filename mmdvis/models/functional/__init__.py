"""Arithmetic on tensors, free of options and state."""
