"""Pure tensor functions without configuration or state."""
