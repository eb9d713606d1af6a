"""Learning rates of the pre-trained parts of a segmenter on few videos: those of `mmdvis data init`, and others.

The toy model, without its class head, is trained on 12 toy videos with grey rectangles and scored on 12 others.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from prettytable import PrettyTable, TableStyle

from mmdvis.checkpoints.zoo import find_entry
from mmdvis.io import write_json

WRITTEN = "{'backbone': 0.1, 'pixel_decoder': 0.1, 'segmenter.decoder': 0.1}"
RATES = {  # row -> learning rates relative to that of the heads
    'equal': '{}',
    'backbone 0.1': "{'backbone': 0.1}",
    'backbone and both decoders 0.1': WRITTEN,
    'backbone and both decoders frozen': WRITTEN.replace('0.1', '0.0'),
}


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--work-dir', type=Path, required=True, help='output folder')
    parser.add_argument('--iters', type=int, default=600, help='iterations (default: %(default)s)')
    parser.add_argument('--rows', nargs='+', choices=[*RATES, 'random weights'], help='rows to run (default: all)')
    parser.add_argument('--json', type=Path, help='file for the results')
    return parser.parse_args()


def mmdvis(folder: Path, *words: object) -> None:
    """Runs a command of mmdvis in a folder; raises CalledProcessError if it fails."""
    environment = dict(os.environ, OMP_NUM_THREADS='1')
    subprocess.run([sys.executable, '-m', 'mmdvis', *map(str, words)], cwd=folder, check=True, env=environment)


def score(folder: Path, name: str, iters: int) -> float:
    """Trains a config to its end and returns its VPQ in percent."""
    mmdvis(folder, 'train', f'{name}.py', '--cfg-options', 'custom_hooks.2.patience=1000')
    mmdvis(folder, 'test', f'{name}.py', f'work_dirs/{name}/iter_{iters}.pth', '--metrics', f'{name}.json')
    return 100 * float(json.loads((folder / f'{name}.json').read_text())['VPQ'])


def main() -> None:
    """Trains all rows and prints a table."""
    args = parse_args()
    folder = args.work_dir.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / 'data').exists():
        numbers = ['--num-train', 12, '--num-val', 12, '--seed', 5]
        mmdvis(folder, 'data', 'convert', 'toy', 'data', '--scene', 'blots', *numbers)
    content = torch.load(find_entry('minvis_toy').find_weights(), weights_only=False)
    kept = {
        name: value
        for name, value in content['state_dict'].items()
        if name.startswith('segmenter.') and 'cls_embed' not in name
    }
    torch.save(dict(state_dict=kept, meta={}), folder / 'start.pth')
    results = {}
    for k, row in enumerate(args.rows or [*RATES, 'random weights']):
        path = folder / f'row{k}.py'
        path.unlink(missing_ok=True)
        start = ['--weights', folder / 'start.pth'] if row in RATES else ['--from-scratch']
        mmdvis(folder, 'data', 'init', 'data', '--model', 'minvis_toy', *start, '-o', path.name, '--iters', args.iters)
        path.write_text(path.read_text().replace(WRITTEN, RATES.get(row, WRITTEN)))
        results[row] = score(folder, path.stem, args.iters)
    table = PrettyTable(['learning rate of the pre-trained parts', 'VPQ'])
    table.set_style(TableStyle.MARKDOWN)
    table.add_rows([[row, f'{value:.1f}'] for row, value in results.items()])
    print(table)
    if args.json:
        write_json(args.json, results)


if __name__ == '__main__':
    main()
