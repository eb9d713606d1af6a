"""The registries of mmdvis: flat children of mmengine's roots, so that ``mmdet.X`` and ``mmdvis.X`` both resolve."""

from typing import Any

from mmengine import registry as roots
from mmengine.config.utils import MODULE2PACKAGE

MODULE2PACKAGE.setdefault('mmdvis', 'mmdvis')  # lets a config inherit from 'mmdvis::dvis/...py'


class ScopedRegistry(roots.Registry):
    """A registry that finds its own members whatever the default scope is, also when they are nested in other configs."""

    def build(self, cfg: dict, *args: Any, **kwargs: Any) -> Any:
        """Builds a module from its config; a ``_scope_`` in the config takes precedence."""
        if isinstance(cfg, dict) and '_scope_' not in cfg:
            self.import_from_location()
            if cfg.get('type') in self.module_dict:
                cfg = dict(cfg, _scope_='mmdvis')
        return super().build(cfg, *args, **kwargs)


def child(name: str, root: roots.Registry, *locations: str) -> roots.Registry:
    """A registry below ``root`` in the scope ``mmdvis`` whose members live in ``locations``; without any, it has none."""
    return ScopedRegistry(name, parent=root, scope='mmdvis', locations=list(locations or ['mmdvis.registry']))


MODELS = child('model', roots.MODELS, 'mmdvis.models')
DATASETS = child('dataset', roots.DATASETS, 'mmdvis.datasets')
TRANSFORMS = child('transform', roots.TRANSFORMS, 'mmdvis.datasets.transforms')
METRICS = child('metric', roots.METRICS, 'mmdvis.evaluation.metrics')
HOOKS = child('hook', roots.HOOKS, 'mmdvis.engine.hooks', 'mmdvis.visualization')
RUNNERS = child('runner', roots.RUNNERS, 'mmdvis.engine')
STRATEGIES = child('strategy', roots.STRATEGIES, 'mmdvis.engine')
OPTIM_WRAPPER_CONSTRUCTORS = child(
    'optimizer wrapper constructor', roots.OPTIM_WRAPPER_CONSTRUCTORS, 'mmdvis.engine.optimizers'
)
# without a child of its own in the scope, a root registry answers too, but mmengine warns at every look-up
LOOPS = child('loop', roots.LOOPS)
DATA_SAMPLERS = child('data sampler', roots.DATA_SAMPLERS, 'mmdvis.datasets.samplers')
OPTIMIZERS = child('optimizer', roots.OPTIMIZERS)
OPTIM_WRAPPERS = child('optim_wrapper', roots.OPTIM_WRAPPERS, 'mmdvis.engine.optimizers')
PARAM_SCHEDULERS = child('parameter scheduler', roots.PARAM_SCHEDULERS)
WEIGHT_INITIALIZERS = child('weight initializer', roots.WEIGHT_INITIALIZERS)
MODEL_WRAPPERS = child('model_wrapper', roots.MODEL_WRAPPERS)
VISUALIZERS = child('visualizer', roots.VISUALIZERS)
VISBACKENDS = child('visualizer backend', roots.VISBACKENDS)
LOG_PROCESSORS = child('log_processor', roots.LOG_PROCESSORS)
EVALUATOR = child('evaluator', roots.EVALUATOR)
FUNCTIONS = child('function', roots.FUNCTIONS)
