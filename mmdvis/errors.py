"""Errors whose message is written for the user."""


class CheckpointError(ValueError):
    """A checkpoint that is refused; its message is for people."""


class DataError(ValueError):
    """Files of a dataset that cannot be used; the message names file, video and frame."""


class BadInputError(ValueError):
    """Files that cannot be scored; the message names file, frame and id."""
