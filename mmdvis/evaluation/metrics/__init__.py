"""MMEngine metrics that wrap the counting functions."""

from .davis_metric import DAVISMetric
from .stq_metric import STQMetric
from .submission import SubmissionWriter
from .vis_metric import InstanceAPMetric, VISMetric
from .vpq_metric import PanopticQualityMetric, VPQMetric
from .vss_metric import VSSMetric

__all__ = [
    'DAVISMetric',
    'InstanceAPMetric',
    'PanopticQualityMetric',
    'STQMetric',
    'SubmissionWriter',
    'VISMetric',
    'VPQMetric',
    'VSSMetric',
]
