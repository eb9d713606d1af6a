"""VIPSeg (CVPR 2022) in its converted layout, and other datasets in the same layout."""

from pathlib import Path

from mmdvis.registry import DATASETS

from .annotation_index import Records
from .annotation_json import parse_json, read_bytes
from .panoptic_json import PanopticVideoDataset, vipseg_records


def read_vipseg_records(path: Path) -> Records:
    """Read the records of a JSON file in the layout of VIPSeg."""
    return vipseg_records(parse_json(read_bytes(path), path), path)


@DATASETS.register_module()
class VIPSegDataset(PanopticVideoDataset):
    """Reads ``panoptic_gt_VIPSeg_*.json``, ``images/<video>/<frame>.jpg`` and ``panomasksRGB/<video>/<frame>.png``.

    The meta information contains ``classes``, ``num_things``, ``category_ids`` (of each label) and ``palette``. The
    JSON file of the test split, which has no segments and ``.jpg`` file names, is supported with ``test_mode=True``.
    """

    METAINFO = dict(dataset_type='VIPSeg', task='vps')
    CLASS_LIST = 'VIPSeg'
    reader = staticmethod(read_vipseg_records)
