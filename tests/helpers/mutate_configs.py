"""Changes numbers in configs/ one at a time and reports those that tests/test_configs/test_recipes.py does not notice.

python tests/helpers/mutate_configs.py --number 200 --seed 0
"""

import argparse
import ast
import random
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from test_configs.test_recipes import test_the_base_that_no_recipe_uses

from helpers.recipe_table import CONFIGS, Reader, listed, rows

OPERATIONAL = {
    'num_workers', 'prefetch_factor', 'interval', 'max_keep_ckpts', 'window_size', 'seed', 'val_interval',
    'opencv_num_threads', 'window',
}  # fmt: skip


def literals(path):
    """(line, column, end column, value) of every number in a config that is not operational."""
    tree = ast.parse(path.read_text())
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
            owner = node
            while owner is not None and not isinstance(owner, (ast.keyword, ast.Assign)):
                owner = parents.get(owner)
            name = owner.arg if isinstance(owner, ast.keyword) else owner.targets[0].id
            if name not in OPERATIONAL:
                yield node.lineno, node.col_offset, node.end_col_offset, node.value


def inherits(path, base, cache={}):
    """Whether a config is, or is based on, another file."""
    if path == base:
        return True
    if path not in cache:
        text = re.search(r'^_base_ = (\[.*?\]|[^\n]*)', path.read_text(), re.M | re.S)
        names = re.findall(r"'([^']+)'", text.group(1)) if text else []
        cache[path] = [(path.parent / name).resolve() for name in names]
    return any(inherits(parent, base) for parent in cache[path])


def is_noticed(changed):
    """Whether a leaf that inherits from the changed file differs from its recipe."""
    for path in sorted(CONFIGS.rglob('*.py')):
        if '_base_' in path.parts or not inherits(path.resolve(), changed.resolve()):
            continue
        try:
            reader = Reader(path)
            same = listed(reader.row()) == rows()[str(path.relative_to(CONFIGS).with_suffix(''))]
            if not same or reader.get('test_dataloader.batch_size') != 1:
                return True
        except Exception:  # a config that cannot be read is noticed, too
            return True
    try:
        test_the_base_that_no_recipe_uses()
    except AssertionError:
        return True
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--number', type=int, default=200)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    found = [(path, *literal) for path in sorted(CONFIGS.rglob('*.py')) for literal in literals(path)]
    chosen = random.Random(args.seed).sample(found, min(args.number, len(found)))
    missed = []
    for path, line, start, stop, value in chosen:
        text = path.read_text()
        lines = text.split('\n')
        lines[line - 1] = f'{lines[line - 1][:start]}{value + 1}{lines[line - 1][stop:]}'
        try:
            path.write_text('\n'.join(lines))
            if not is_noticed(path):
                missed.append(f'{path.relative_to(CONFIGS)}:{line}: {value}')
        finally:
            path.write_text(text)
    print(
        f'{len(chosen) - len(missed)} of {len(chosen)} changes of {len(found)} numbers are noticed', *missed, sep='\n'
    )
    return 1 if missed else 0


if __name__ == '__main__':
    sys.exit(main())
