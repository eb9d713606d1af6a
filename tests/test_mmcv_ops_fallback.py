"""The package imports without heavy dependencies, and mmcv works without compiled operators."""

import subprocess
import sys

import pytest

from mmdvis import mmcv_ops_fallback as compat
from mmdvis.doctor import other_problems, stack_problems, version_numbers


def run(code):
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_package_loads_neither_torch_nor_mmdet():
    loaded = run('import sys, mmdvis; print([m for m in ("torch", "mmdet", "mmengine", "mmcv") if m in sys.modules])')
    assert loaded == '[]'


def test_mmdet_imports_without_compiled_operators():
    assert run('import mmdvis, mmdet.models; print(mmdet.models.ResNet.__name__)').endswith('ResNet')


def test_a_missing_operator_says_how_to_get_it():
    ops = compat.FallbackOps(compat.EXTENSION)
    with pytest.raises(RuntimeError, match="'carafe_forward' of mmcv is not installed.*pip install"):
        ops.carafe_forward(1, 2)
    assert ops.get_compiler_version() == ops.get_compiling_cuda_version() == 'not compiled'


def test_a_broken_extension_is_reported_and_replaced():
    class Loader:
        def create_module(self, spec):
            raise ImportError('undefined symbol: _Z3foo')

        def exec_module(self, module):
            raise AssertionError('never reached')

    from importlib.machinery import ModuleSpec

    with pytest.warns(UserWarning, match='cannot be loaded and are computed in PyTorch: undefined symbol'):
        module = compat.ExtensionLoader(ModuleSpec('mmcv._ext', Loader())).create_module(None)
    assert isinstance(module, compat.FallbackOps)


def test_hooks_are_installed_once():
    compat.install_hooks('mmdvis.ops')
    compat.install_hooks('mmdvis.ops')
    assert sum(isinstance(f, compat.ExtensionFinder) for f in sys.meta_path) == 1


GOOD = {
    'onedl-mmengine': '0.10.12',
    'onedl-mmcv': '2.3.6',
    'onedl-mmdetection': '3.5.1',
    'onedl-mmsegmentation': '1.4.2',
}


def test_doctor_is_content_with_the_tested_stack():
    assert stack_problems(GOOD) == []


@pytest.mark.parametrize(
    'change, what, command',
    [
        ({'mmcv': '2.1.0'}, 'mmcv 2.1.0 and onedl-mmcv 2.3.6 are both installed', 'pip uninstall -y mmcv onedl-mmcv'),
        ({'onedl-mmcv': None, 'mmcv': '2.1.0'}, 'is the upstream package', 'pip uninstall -y mmcv &&'),
        ({'onedl-mmcv': '2.4.0'}, 'onedl-mmcv 2.4.0 is not tested', 'pip install "onedl-mmcv>=2.3.6,<2.4"'),
        ({'onedl-mmdetection': None}, 'onedl-mmdetection is missing', 'pip install "onedl-mmdetection'),
    ],
)
def test_doctor_names_each_problem_and_its_cure(change, what, command):
    ((problem, cure),) = stack_problems({**GOOD, **change})
    assert what in problem and command in cure


def test_an_upstream_package_of_an_outer_environment_is_no_problem():
    both = {**GOOD, 'mmcv': '2.1.0'}
    assert stack_problems(both, {'mmcv': '/outer', 'onedl-mmcv': '/inner'}) == []
    assert len(stack_problems(both, {'mmcv': '/inner', 'onedl-mmcv': '/inner'})) == 1


def test_doctor_counts_versions_by_numbers():
    assert version_numbers('2.13.0+cpu') == (2, 13, 0) and version_numbers('0.10.12rc1') == (0, 10)
    assert version_numbers('2.3.10') > version_numbers('2.3.6')


def test_doctor_names_missing_packages():
    assert other_problems(dict(torch='2', numpy='2', numba='0', scipy='1', pillow='1', av='1')) == [
        ('pycocotools is missing', 'pip install pycocotools')
    ]


def test_doctor_runs():
    text = run('import mmdvis.doctor as d; d.main()')
    assert 'mmcv operators' in text and 'torch' in text
