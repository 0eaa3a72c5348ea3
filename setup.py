"""Packages of hsonet_mm; everything else is in pyproject.toml.

The configs live in the top-level folder ``configs`` and are installed as
``hsonet_mm.configs``, so that other projects can inherit them by
``from hsonet_mm.configs.hsonet_levir import *``.
"""

from setuptools import find_packages, setup

CONFIGS = {
    f'hsonet_mm.configs{sub}': 'configs' + sub.replace('.', '/')
    for sub in ('', '._base_', '.ablations', '.baselines', '.leaderboard', '.recipes', '.segmentation')
}

setup(
    packages=[*find_packages(include=['hsonet_mm', 'hsonet_mm.*']), *CONFIGS],
    package_dir=CONFIGS,
    package_data={
        'hsonet_mm': ['py.typed'],
        'hsonet_mm.configs.leaderboard': ['*.yaml'],
        'hsonet_mm.demo': ['*.j2'],
        'hsonet_mm.explain': ['*.j2'],
        'hsonet_mm.leaderboard': ['*.csv', '*.j2'],
        'hsonet_mm.pages': ['*.css', '*.j2'],
        'hsonet_mm.pretrained': ['*.onnx', '*.md', '*.json', '*.txt'],
        'hsonet_mm.viewer': ['*.css', '*.j2', '*.js'],
    },
)
