"""What happens to a clip between the disk and the model."""
from .clip_geometry import CropClip, FlipClip, JitterClip, ResizeClip, RotateClip
from .clip_io import LoadClip, OpenVideo, PackClip
from .clip_sampling import SampleClip
from .clip_truth import id_maps_of, labels_of

__all__ = [
    'CropClip', 'FlipClip', 'JitterClip', 'LoadClip', 'OpenVideo', 'PackClip', 'ResizeClip', 'RotateClip', 'SampleClip',
    'id_maps_of', 'labels_of'
]
