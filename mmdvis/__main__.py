"""Runs the command line: ``python -m mmdvis``."""

import sys

from mmdvis.cli.main import main

sys.exit(main())
