"""Compares the ViT-Adapter of DVIS++ with its parity fixtures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmdvis.checkpoints import read_checkpoint
from mmdvis.checkpoints.converters import convert_detectron2
from mmdvis.models.backbones import ViTAdapter

from .comparison import Comparison, compare_equal, compare_values

PREFIX = 'segmenter.backbone.'
INPUTS = {'': 'x', 'square_': 'x_square'}  # prefix of the names of the four output maps -> name of the input


def build_adapter(sizes: dict[str, Any]) -> ViTAdapter:
    """Builds an adapter with the sizes of a fixture.

    Raises:
        ValueError: If the sizes are not supported.
    """
    if sizes['effective_deform_ratio'] != 1 or sizes['patch_size'] * sizes['n_points'] == 0:
        raise ValueError(
            f'an adapter must have effective_deform_ratio = 1, patch_size > 0 and n_points > 0, got {sizes}'
        )
    vit = dict(
        type='DINOv2',
        patch_size=sizes['patch_size'],
        table=sizes['vit_img_size'] // sizes['patch_size'],
        stages=sizes['interaction_indexes'],
        arch=dict(
            channels=sizes['embed_dim'],
            depth=sizes['depth'],
            num_heads=sizes['num_heads'],
            ffn='mlp' if sizes['ffn_layer'] == 'mlp' else 'swiglu',
        ),
    )
    return ViTAdapter(
        vit,
        num_heads=sizes['deform_num_heads'],
        num_points=sizes['n_points'],
        ffn_ratio=sizes['cffn_ratio'],
        prior_channels=sizes['conv_inplane'],
    ).eval()


@torch.no_grad()
def compare_adapters(folder: Path) -> list[Comparison]:
    """Compares the four maps of each ``adapter_<name>_state_dict.npz`` with ``adapter_<name>_expected.npz``."""
    info, comparisons = json.loads((folder / 'info.json').read_text()), []
    for path in sorted(folder.glob('adapter_*_state_dict.npz')):
        name = path.name[: -len('_state_dict.npz')]
        model = build_adapter(info[name])
        result = convert_detectron2({f'backbone.{key}': value for key, value in read_checkpoint(path).items()})
        model.load_state_dict(
            {
                key.removeprefix(PREFIX): value.float() if value.is_floating_point() else value
                for key, value in result.state_dict.items()
            }
        )
        comparisons += [
            compare_equal(f'{name}.leftover names', list(result.leftover), []),
            compare_equal(f'{name}.parameters', sum(p.numel() for p in model.parameters()), info[name]['params']),
        ]
        with np.load(folder / f'{name}_expected.npz') as expected:
            inputs = {prefix: input_name for prefix, input_name in INPUTS.items() if input_name in expected}
            if not inputs:
                raise ValueError(f'{folder / name}_expected.npz has none of {", ".join(INPUTS.values())}')
            for prefix, input_name in inputs.items():
                maps = model(torch.from_numpy(np.array(expected[input_name])).float())
                comparisons += [
                    compare_values(f'{name}.{prefix}f{k}', value, expected[f'{prefix}f{k}'])
                    for k, value in enumerate(maps, 1)
                ]
    return comparisons
