"""Import hooks for the OpenMMLab packages; they cost nothing unless these are imported.

Four import finders. One waits for MMEngine and then adds this package's registries to its tree; MMEngine imports the
components behind them at the first look-up. One lets a torchvision be imported that was built for another PyTorch. One
leaves out what the OneDL forks print at import. One stands in for the compiled operators that mmcv-lite lacks.
"""

import io
import sys
import types
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

__all__ = ['CompiledOps', 'CompiledOpsFinder', 'declare_operators_of_torchvision', 'install']

COMPILED_OPS = 'mmcv._ext'

_Step = Callable[[ModuleSpec], None]


def install() -> None:
    """Install the finders; where MMEngine is imported already, add the registries at once."""
    sys.meta_path.append(CompiledOpsFinder())  # the last one: asked only if there are no compiled operators
    sys.meta_path.insert(0, _Finder('torchvision', before=declare_operators_of_torchvision))
    sys.meta_path.insert(
        0, _Finder('mmseg.datasets', silent=True)
    )  # prints that an optional package is missing
    if sys.modules.get('mmengine') is None:
        sys.meta_path.insert(0, _Finder('mmengine', after=_add_registries))
    elif find_spec('opencd') is None:
        _add_registries()
    else:  # nothing of it is half imported now, so that it can be seen whether it works
        from hsonet_mm import components  # noqa: F401


def _add_registries(_: ModuleSpec | None = None) -> None:
    """Add the scopes to MMEngine's tree; ``opencd`` only in the absence of Open-CD, which adds its own."""
    from hsonet_mm import registry  # noqa: F401

    if find_spec('opencd') is None:
        from hsonet_mm.opencd import registry as registry_of_opencd  # noqa: F401


def declare_operators_of_torchvision(spec: ModuleSpec) -> None:
    """Let torchvision import where its compiled library does not fit the installed PyTorch, such as a build for CPUs.

    Its import then stops at two operators that the library would have declared. Once they are, models and transforms
    work; a compiled operator that is called says by itself that torchvision does not match PyTorch.
    """
    import torch

    if spec.origin is None or hasattr(torch.ops.torchvision, 'nms'):
        return
    for library in Path(spec.origin).parent.glob('_C*.so'):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            for name in ('nms', 'qnms'):
                torch.library.define(
                    f'torchvision::{name}', '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor'
                )
            return


class _Finder(MetaPathFinder):
    """Finds one package where the other finders do, and has something done before or after its import, or silently."""

    def __init__(
        self, name: str, *, before: _Step | None = None, after: _Step | None = None, silent: bool = False
    ) -> None:
        self._name, self._before, self._after, self._silent = name, before, after, silent

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the package by the other finders, and surround its loader with our steps."""
        if fullname != self._name:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((one for one in specs if one is not None), None)
        if spec is not None and spec.loader is not None:
            self._surround(spec, spec.loader)
        return spec

    def _surround(self, spec: ModuleSpec, loader: Any) -> None:
        """Put the steps around the execution of a package."""
        run = loader.exec_module

        def exec_module(module: types.ModuleType) -> None:
            loader.exec_module = run
            if self._before is not None:
                self._before(spec)
            with redirect_stdout(io.StringIO()) if self._silent else nullcontext():
                run(module)
            if self._after is not None:
                self._after(spec)

        loader.exec_module = exec_module


class CompiledOps(types.ModuleType):
    """A stand-in for ``mmcv._ext``: every operator exists and says what is missing when it is called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)

        def missing(*_: Any, **__: Any) -> NoReturn:
            raise NotImplementedError(
                f'the compiled operator {name} is not part of mmcv-lite: install the full mmcv to use it'
            )

        return missing


class CompiledOpsFinder(MetaPathFinder, Loader):
    """Lets ``mmcv.ops`` be imported without compiled operators.

    MMSegmentation 1.2 imports ``mmcv.ops`` in four modules, though only a few of its heads call a compiled
    operator; with mmcv-lite that import alone makes ``mmseg.models`` fail.
    """

    def find_spec(self, fullname: str, *_: Any) -> ModuleSpec | None:
        """Find the stand-in, and nothing else."""
        return ModuleSpec(fullname, self) if fullname == COMPILED_OPS else None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        """Create the stand-in."""
        return CompiledOps(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Do nothing."""
