"""Starts the demo in a browser: choose a video, watch the result and download it."""

import argparse
import sys
from collections.abc import Sequence

from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.errors import MMDVISError


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        prog='mmdvis web', description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--host', default='127.0.0.1', help='address to listen on; 0.0.0.0 also serves other machines')
    parser.add_argument('--port', type=int, default=7860, help='port to listen on')
    parser.add_argument('--device', default='auto', help='device of the model; auto: the first GPU, or else the CPU')
    parser.add_argument('--out', help='folder for the results; None: a temporary folder, deleted at the end')
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves the demo until Ctrl-C; returns the exit code."""
    args = parse_args(arguments)
    with exit_on_error():
        try:
            from mmdvis.cli.web_demo import WebDemo
        except ModuleNotFoundError as error:
            if error.name != 'gradio':
                raise
            raise MMDVISError('the web demo needs gradio, which is not installed; pip install "mmdvis[web]"') from None
        WebDemo(args.device, args.out).serve(args.host, args.port)
    return 0


if __name__ == '__main__':
    sys.exit(main())
