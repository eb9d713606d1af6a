"""Writes the true optical flow of the validation videos of a synthetic dataset, from each frame to the one before.

A frame is a pure function of the scene and the time, so the flow of every visible point is known. Points hidden by a
grey rectangle move like what is behind it. ``FlowFiles`` of VPSNet reads the files.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from mmdvis.datasets.toy.scene import SCENES, STUFF_ID, Scene, draw_scene, render
from mmdvis.io import write_flow


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('out', type=Path, help='folder of the flow files')
    parser.add_argument('--scene', choices=SCENES, default='blots', help='scene of the dataset')
    parser.add_argument('--seed', type=int, default=0, help='seed of the dataset')
    parser.add_argument('--num-val', type=int, default=48, help='number of its validation videos')
    return parser.parse_args()


def main() -> None:
    """Writes the files."""
    args = parse_args()
    for number in range(args.num_val):
        rng = np.random.default_rng((args.seed, 1, number))  # as in mmdvis.datasets.toy.videos
        scene = draw_scene(rng, SCENES[args.scene])
        folder = args.out / f'val_{number:04d}'
        folder.mkdir(parents=True, exist_ok=True)
        maps = [render(scene, t, rng)[1] for t in range(scene.options.num_frames)]
        for t in range(len(maps)):
            before = max(t - 1, 0)  # the first frame is its own reference
            flow = torch.from_numpy(true_flow(scene, maps[t], t, before))
            write_flow(folder / f'{t:08d}.png__{before:08d}.png.flo', flow)


def true_flow(scene: Scene, ids: np.ndarray, t: int, other: int) -> np.ndarray:
    """Flow (2, H, W) float32 in pixels from frame ``t`` with the id map ``ids`` (H, W) to the frame ``other``."""
    rows, columns = np.mgrid[: ids.shape[0], : ids.shape[1]].astype(float)
    x, y = scene.to_world(t, columns, rows)
    for number in np.unique(ids[(ids > 0) & (ids < STUFF_ID)]):
        mask, thing = ids == number, scene.things[number - 1]
        (cx, cy, angle, radius), (cx2, cy2, angle2, radius2) = thing.place(t), thing.place(other)
        turn, growth, dx, dy = angle2 - angle, radius2 / radius, x[mask] - cx, y[mask] - cy
        x[mask] = cx2 + growth * (dx * np.cos(turn) - dy * np.sin(turn))
        y[mask] = cy2 + growth * (dx * np.sin(turn) + dy * np.cos(turn))
    x, y = scene.to_pixels(other, x, y)
    return np.stack([x - columns, y - rows]).astype(np.float32)


if __name__ == '__main__':
    main()
