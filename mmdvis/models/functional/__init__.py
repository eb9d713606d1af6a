"""Pure tensor functions without configuration or state, and the data that associators exchange."""
