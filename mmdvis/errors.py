"""Exceptions with messages for the user."""


class CheckpointError(ValueError):
    """Raised for a checkpoint that cannot be loaded."""


class DataError(ValueError):
    """Raised for invalid dataset files; the message contains file, video and frame."""


class UnreadableImageError(DataError):
    """Raised for an image file that is missing, damaged or of another mode."""


class BadInputError(ValueError):
    """Raised for files that cannot be evaluated; the message contains file, frame and id."""
