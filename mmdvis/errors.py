"""Exceptions with messages for the user."""


class MMDVISError(ValueError):
    """Base of the errors of mmdvis; the message says what was given, what is allowed and what to do."""


class OptionError(MMDVISError):
    """Raised for an option with a value that is not allowed."""


class CheckpointError(MMDVISError):
    """Raised for a checkpoint that cannot be loaded."""


class DataError(MMDVISError):
    """Raised for invalid dataset files; the message contains file, video and frame."""


class UnreadableImageError(DataError):
    """Raised for an image file that is missing, damaged or of another mode."""


class BadInputError(MMDVISError):
    """Raised for files that cannot be evaluated; the message contains file, frame and id."""


class NonFiniteError(MMDVISError):
    """Raised for a loss or gradient that is NaN or infinite, before it changes the weights."""


class HungProcessError(MMDVISError):
    """A process or data loader worker has not answered within the time limit."""
