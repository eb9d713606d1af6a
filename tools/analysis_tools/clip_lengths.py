"""Evaluates a model with a refiner for several clip lengths, semi-online and offline (DVIS paper, section 4.2)."""

import argparse
import copy

from prettytable import PrettyTable

from mmdvis.cli.arguments import add_config_options, add_trust
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.engine.launch import load_config, test
from mmdvis.io import write_json

COLUMNS = ('VPQ', 'VPQ_Th', 'VPQ_St', 'STQ_corrected', 'AQ_corrected', 'SQ_corrected')


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--lengths',
        nargs='+',
        default=['1', '2', '4', '8', '16', 'all'],
        help='numbers of frames that the refiner processes together; all: the whole video',
    )
    parser.add_argument('--causal', action='store_true', help='compute the scores of a frame from the frames up to it')
    parser.add_argument('--work-dir', help='folder for logs; None: as in the config, or work_dirs/<name of the config>')
    parser.add_argument('--json', help='json file to write the results to')
    add_trust(parser)
    add_config_options(parser)
    return parser.parse_args()


def table(rows: dict[str, dict[str, float]]) -> str:
    """Formats the metrics as a text table in percent, with one row per clip length.

    Args:
        rows: Clip length -> (metric -> value in [0, 1]).
    """
    table = PrettyTable(['clip length', *(name.replace('_corrected', '') for name in COLUMNS)])
    table.align = 'r'
    for length, metrics in rows.items():
        table.add_row([length, *(f'{100 * metrics[name]:.1f}' for name in COLUMNS)])
    return str(table)


def lengths_of(words: list[str]) -> dict[str, int | None]:
    """Parses the values of ``--lengths``.

    Args:
        words: Numbers of frames, or ``'all'``.

    Returns:
        Word -> clip length, which is None for the whole video.

    Raises:
        SystemExit: If a word is invalid.
    """
    invalid = [word for word in words if word != 'all' and not (word.isdigit() and int(word))]
    if invalid:
        raise SystemExit(f"--lengths must be positive numbers of frames or 'all', got {invalid[0]!r}")
    return {word: None if word == 'all' else int(word) for word in words}


def main() -> None:
    """Evaluates every clip length and prints a table."""
    args, rows = parse_args(), {}
    lengths, config = lengths_of(args.lengths), load_config(args.config, args.work_dir, args.cfg_options)
    if not config.model.get('refiner'):
        raise SystemExit(
            f'{args.config} has no refiner, so its results do not depend on the clip length; use one with a refiner'
        )
    for word, length in lengths.items():
        run_config = copy.deepcopy(config)  # a test changes its config
        run_config.model.update(clip_len=length, causal=args.causal)
        with exit_on_error():
            rows[word] = test(run_config, args.checkpoint, args.trust)
    print(table(rows))
    if args.json:
        write_json(args.json, rows, indent=1)


if __name__ == '__main__':
    main()
