"""Measures the computed operators of mmcv on one thread against named baselines.

python benchmarks/computed_operators.py
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor


def seconds(work: Callable[[], object], repeats: int = 7) -> float:
    """Shortest duration of ``work``."""
    durations = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        durations.append(time.perf_counter() - start)
    return min(durations)


def align_by_loops(features: Tensor, rois: Tensor, size: int, ratio: int, scale: float) -> Tensor:
    """RoIAlign (aligned) by a loop over regions and bins; the samples of a bin are read at once."""
    height, width = features.shape[2:]
    result = features.new_zeros(len(rois), features.shape[1], size, size)
    for r, (_, x1, y1, x2, y2) in enumerate((rois * torch.tensor([1, *[scale] * 4])).tolist()):
        left, top, step_x, step_y = x1 - 0.5, y1 - 0.5, (x2 - x1) / size, (y2 - y1) / size
        for i in range(size):
            for j in range(size):
                total = 0
                for a in range(ratio):
                    for b in range(ratio):
                        y, x = top + step_y * (i + (a + 0.5) / ratio), left + step_x * (j + (b + 0.5) / ratio)
                        if not (-1 <= y <= height and -1 <= x <= width):
                            continue
                        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
                        y0, x0 = int(y), int(x)
                        y_next, x_next = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
                        dy, dx = y - y0, x - x0
                        total = total + (
                            (1 - dy) * ((1 - dx) * features[0, :, y0, x0] + dx * features[0, :, y0, x_next])
                            + dy * ((1 - dx) * features[0, :, y_next, x0] + dx * features[0, :, y_next, x_next])
                        )
                result[r, :, i, j] = total / ratio**2
    return result


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--json', type=Path, help='file to write the results to')
    return parser.parse_args()


def main() -> None:
    """Prints a table of durations and ratios."""
    import mmdvis  # noqa: F401, I001  provides the computed operators that mmcv.ops imports
    from mmcv.ops import DeformConv2d, nms, roi_align

    args = parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    features = torch.randn(1, 256, 100, 168)
    corner = torch.rand(512, 2) * 300
    rois = torch.cat([torch.zeros(512, 1), corner, corner + 20 + torch.rand(512, 2) * 180], 1)
    fast = seconds(lambda: roi_align(features, rois, (7, 7), 0.25, 2))
    few = rois[:16]
    slow = seconds(lambda: align_by_loops(features, few, 7, 2, 0.25), 1) * len(rois) / len(few)
    close = (roi_align(features, few, (7, 7), 0.25, 2) - align_by_loops(features, few, 7, 2, 0.25)).abs().max()
    print(f'roi_align, 512 regions of 256 channels to 7 x 7: {fast:.3f} s')
    print(f'    loop over regions and bins: {slow:.1f} s, {slow / fast:.0f} times')
    print(f'    largest difference {float(close):.1e}')

    corner = torch.rand(3000, 2) * 500
    boxes, scores = torch.cat([corner, corner + 10 + torch.rand(3000, 2) * 90], 1), torch.rand(3000)
    suppressed = seconds(lambda: nms(boxes, scores, 0.5))
    print(f'nms, 3000 boxes: {suppressed:.3f} s, {len(nms(boxes, scores, 0.5)[1])} kept')

    layer, images = DeformConv2d(256, 256, 3, padding=1), torch.randn(1, 256, 100, 168)
    offsets = torch.randn(1, 18, 100, 168)
    with torch.no_grad():
        deformed = seconds(lambda: layer(images, offsets))
        plain = seconds(lambda: torch.nn.functional.conv2d(images, layer.weight, padding=1))
    print(f'deform_conv, 256 channels, 100 x 168: {deformed:.3f} s; conv2d {plain:.3f} s: {deformed / plain:.1f} times')
    if args.json:
        results = dict(roi_align=fast, roi_align_loops=slow, nms=suppressed, deform_conv=deformed, conv2d=plain)
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == '__main__':
    main()
