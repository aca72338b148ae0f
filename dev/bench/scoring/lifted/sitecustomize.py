"""Lift stock MLflow's check that code scorers run online in containers alone.

Found by PYTHONPATH in every process of a stock server that is measured, so that it runs the very
scorer that ours runs. Nothing else of it is changed.
"""

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import PathFinder
from importlib.util import spec_from_loader


def _of_store(module):
    module.SqlAlchemyStore._validate_online_custom_scorer = staticmethod(lambda *_: None)


def _of_job(module):
    module._online_scorers_this_job_can_run = lambda online_scorers: online_scorers


_CHECKS = {
    "mlflow.store.tracking.sqlalchemy_store": _of_store,
    "mlflow.genai.scorers.job": _of_job,
}


class _Lifting(Loader):
    def __init__(self, loader):
        self._loader = loader

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        self._loader.exec_module(module)
        _CHECKS[module.__name__](module)


class _Finder(MetaPathFinder):
    def find_spec(self, fullname, path, target=None):
        if fullname not in _CHECKS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        return spec and spec_from_loader(fullname, _Lifting(spec.loader), origin=spec.origin)


sys.meta_path.insert(0, _Finder())
