"""Runs official weights through the converters and our models, and compares with what the official code gave."""
import argparse
import json
import sys
from pathlib import Path

import numpy as np
from mmengine.registry import init_default_scope

from mmdvis.apis.parity import compare_results, compare_stages, report
from mmdvis.structures import read_checkpoint


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folders', nargs='+', help='folders with info.json, official_state_dict.npz and expected.npz')
    return parser.parse_args()


def main() -> int:
    """Prints a line for every quantity; the exit code is 1 where one is outside its tolerance."""
    init_default_scope('mmdvis')
    all_hold = True
    for folder in map(Path, parse_args().folders):
        if not (folder / 'official_state_dict.npz').is_file():
            raise SystemExit(f'{folder} holds no official_state_dict.npz, so it is no fixture of a complete model')
        info = json.loads((folder / 'info.json').read_text())
        official, expected = read_checkpoint(folder / 'official_state_dict.npz'), dict(np.load(folder / 'expected.npz'))
        text, holds = report([*compare_stages(info, official, expected), *compare_results(info, official, expected)])
        print(f'{folder}\n{text}')
        all_hold &= holds
    return 0 if all_hold else 1


if __name__ == '__main__':
    sys.exit(main())
