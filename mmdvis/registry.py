"""Registries of mmdvis: direct children of mmengine's root registries, so both ``mmdet.X`` and ``mmdvis.X`` resolve."""

from typing import Any

from mmengine import registry as roots
from mmengine.config.utils import MODULE2PACKAGE

MODULE2PACKAGE.setdefault('mmdvis', 'mmdvis')  # enables configs to inherit from 'mmdvis::dvis/...py'


class ScopedRegistry(roots.Registry):
    """Registry that finds its members in any default scope, also if they are nested in other configs."""

    def build(self, cfg: dict, *args: Any, **kwargs: Any) -> Any:
        """Builds a module from its config; a ``_scope_`` in the config takes precedence."""
        if isinstance(cfg, dict) and '_scope_' not in cfg:
            self.import_from_location()
            if cfg.get('type') in self.module_dict:
                cfg = dict(cfg, _scope_='mmdvis')
        return super().build(cfg, *args, **kwargs)


def child(name: str, root: roots.Registry, *locations: str) -> roots.Registry:
    """Creates a child registry of ``root`` in the scope ``mmdvis``.

    Args:
        name: Name of the registry.
        root: Parent registry.
        locations: Modules that are imported to register its members; without any, the registry is empty.
    """
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
# mmengine warns at every lookup in a root registry that has no child in the current scope
LOOPS = child('loop', roots.LOOPS, 'mmdvis.engine')
DATA_SAMPLERS = child('data sampler', roots.DATA_SAMPLERS, 'mmdvis.datasets.samplers')
OPTIMIZERS = child('optimizer', roots.OPTIMIZERS)
OPTIM_WRAPPERS = child('optim_wrapper', roots.OPTIM_WRAPPERS, 'mmdvis.engine.optimizers')
PARAM_SCHEDULERS = child('parameter scheduler', roots.PARAM_SCHEDULERS, 'mmdvis.engine.optimizers')
WEIGHT_INITIALIZERS = child('weight initializer', roots.WEIGHT_INITIALIZERS)
MODEL_WRAPPERS = child('model_wrapper', roots.MODEL_WRAPPERS)
VISUALIZERS = child('visualizer', roots.VISUALIZERS)
VISBACKENDS = child('visualizer backend', roots.VISBACKENDS)
LOG_PROCESSORS = child('log_processor', roots.LOG_PROCESSORS)
EVALUATOR = child('evaluator', roots.EVALUATOR)
INFERENCERS = child('inferencer', roots.INFERENCERS, 'mmdvis.apis.inferencer')
FUNCTIONS = child('function', roots.FUNCTIONS)
