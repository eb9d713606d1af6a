"""The registries of mmdvis: flat children of mmengine's roots, so that ``mmdet.X`` and ``mmdvis.X`` both resolve."""
from mmengine import registry as roots
from mmengine.config.utils import MODULE2PACKAGE

MODULE2PACKAGE.setdefault('mmdvis', 'mmdvis')  # lets a config inherit from 'mmdvis::dvis/...py'


def child(name: str, root: roots.Registry, *locations: str) -> roots.Registry:
    """A registry below ``root`` in the scope ``mmdvis`` whose members live in ``locations``."""
    return roots.Registry(name, parent=root, scope='mmdvis', locations=list(locations))


MODELS = child('model', roots.MODELS, 'mmdvis.models')
DATASETS = child('dataset', roots.DATASETS, 'mmdvis.datasets')
TRANSFORMS = child('transform', roots.TRANSFORMS, 'mmdvis.datasets.transforms')
METRICS = child('metric', roots.METRICS, 'mmdvis.evaluation.metrics')
HOOKS = child('hook', roots.HOOKS, 'mmdvis.engine.hooks')
RUNNERS = child('runner', roots.RUNNERS, 'mmdvis.engine')
OPTIM_WRAPPER_CONSTRUCTORS = child(
    'optimizer wrapper constructor', roots.OPTIM_WRAPPER_CONSTRUCTORS, 'mmdvis.engine.optimizers')
