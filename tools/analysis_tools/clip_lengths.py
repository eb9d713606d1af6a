"""Scores a model with a refiner for several clip lengths, offline and semi-online (section 4.2 of the DVIS paper)."""

import argparse
import json
from pathlib import Path

from mmengine.config import DictAction
from prettytable import PrettyTable

from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.engine.launch import load_config, test

COLUMNS = ('VPQ', 'VPQ_Th', 'VPQ_St', 'STQ_corrected', 'AQ_corrected', 'SQ_corrected')


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--lengths',
        nargs='+',
        default=['1', '2', '4', '8', '16', 'all'],
        help='frames that the refiner sees together; all: the whole video',
    )
    parser.add_argument('--causal', action='store_true', help='score every frame by the frames up to it')
    parser.add_argument('--work-dir', help='folder for logs')
    parser.add_argument('--json', help='write the figures to this file')
    parser.add_argument('--trust', action='store_true', help='load the checkpoint without guarding against code in it')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides, as key=value')
    return parser.parse_args()


def table(rows: dict[str, dict[str, float]]) -> str:
    """The figures in percent, a row for each length."""
    text = PrettyTable(['clip length', *(name.replace('_corrected', '') for name in COLUMNS)])
    text.align = 'r'
    for length, figures in rows.items():
        text.add_row([length, *(f'{100 * figures[name]:.1f}' for name in COLUMNS)])
    return str(text)


def lengths_of(words: list[str]) -> dict[str, object]:
    """Word -> clip length, None for the whole video."""
    wrong = [word for word in words if word != 'all' and not (word.isdigit() and int(word))]
    if wrong:
        raise SystemExit(f"--lengths takes numbers of frames and 'all', got {wrong[0]!r}")
    return {word: None if word == 'all' else int(word) for word in words}


def main() -> None:
    """Scores every length, then prints the table."""
    args, rows = parse_args(), {}
    for word, length in lengths_of(args.lengths).items():
        config = load_config(args.config, args.work_dir, args.cfg_options)
        config.model.update(clip_len=length, causal=args.causal)
        if not config.model.get('refiner'):
            raise SystemExit(f'{args.config} has no refiner, so no result depends on the clip length')
        with exit_on_error():
            rows[word] = test(config, args.checkpoint, args.trust)
    print(table(rows))
    if args.json:
        Path(args.json).parent.mkdir(parents=True, exist_ok=True)
        Path(args.json).write_text(json.dumps(rows, indent=1))


if __name__ == '__main__':
    main()
