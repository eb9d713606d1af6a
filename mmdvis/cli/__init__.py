"""Arguments and error handling that the command line tools share."""
