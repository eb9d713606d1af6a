"""What the command line tools share: arguments, errors, tables."""
