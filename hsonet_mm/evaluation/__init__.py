"""Evaluation: metrics of changed pixels and objects, and breakdowns of the errors."""

from hsonet_mm.evaluation.change_metric import ChangeMetric
from hsonet_mm.evaluation.confusion import Confusion, Sweep, confusion, histograms, sweep
from hsonet_mm.evaluation.hard_case_metric import HardCaseMetric

__all__ = ['ChangeMetric', 'Confusion', 'HardCaseMetric', 'Sweep', 'confusion', 'histograms', 'sweep']
