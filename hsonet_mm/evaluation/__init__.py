"""Evaluation: how well a model finds changed pixels, and where it fails."""

from hsonet_mm.evaluation.change_metric import ChangeMetric
from hsonet_mm.evaluation.confusion import Confusion, Sweep, confusion, histograms, sweep
from hsonet_mm.evaluation.hard_case_metric import HardCaseMetric

__all__ = ['ChangeMetric', 'Confusion', 'HardCaseMetric', 'Sweep', 'confusion', 'histograms', 'sweep']
