"""The packages of the extra ``explain``."""

from importlib import import_module

from hsonet_mm.errors import UserError

__all__ = ['require']

PACKAGES = {'captum': 'captum', 'sklearn': 'scikit-learn', 'matplotlib': 'matplotlib'}
"""Names to install them by, by names to import."""


def require(*modules: str) -> None:
    """Check that packages, keys of :data:`PACKAGES`, are installed."""
    for module in modules:
        try:
            import_module(module)
        except ImportError:
            raise UserError(
                f'hsonet explain needs {PACKAGES[module]}, which is not installed: pip install "hsonet_mm[explain]"'
            ) from None
