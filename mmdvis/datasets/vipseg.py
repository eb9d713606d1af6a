"""VIPSeg (CVPR 2022) in its prepared layout, and every dataset that lies on disk in the same way."""

from pathlib import Path

from mmdvis.registry import DATASETS

from .annotation_index import Records
from .annotation_json import parse_json, read_bytes
from .panoptic_json import PanopticVideoDataset, vipseg_records


def read_vipseg_records(path: Path) -> Records:
    """The records of a json in VIPSeg's layout."""
    return vipseg_records(parse_json(read_bytes(path), path), path)


@DATASETS.register_module()
class VIPSegDataset(PanopticVideoDataset):
    """Reads ``panoptic_gt_VIPSeg_*.json``, ``images/<video>/<frame>.jpg`` and ``panomasksRGB/<video>/<frame>.png``.

    The meta information says ``classes``, ``num_things``, ``category_ids`` (of each label) and ``palette``. The json of the test
    split, without segments and with ``.jpg`` names, can be tested.
    """

    METAINFO = dict(dataset_type='VIPSeg', task='vps')
    CLASS_LIST = 'VIPSeg'
    reader = staticmethod(read_vipseg_records)
