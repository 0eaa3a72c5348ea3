"""FarSeg's feature pyramid with scene embedding for two dates."""

from typing import Any

from hsonet_mm.errors import UserError
from hsonet_mm.models.necks.vfpn import FUSIONS, VFPN
from hsonet_mm.opencd.registry import MODELS

__all__ = ['FarSegFPN']


@MODELS.register_module()
class FarSegFPN(VFPN):
    """:class:`hsonet_mm.models.VFPN` under the name by which Open-CD's configs know such a neck.

    Args:
        policy: fusion of the dates, ``'concat'``, ``'sum'``, ``'diff'`` or ``'abs_diff'``.
        **kwargs: of :class:`hsonet_mm.models.VFPN`, such as ``in_channels``, ``out_channels`` and ``num_outs``.

    Raises:
        UserError: for an unknown policy.

    References:
        Zheng et al., *Foreground-Aware Relation Network*, CVPR 2020, arXiv 2011.09766. Outputs checked against
        Open-CD 1.1.
    """

    def __init__(self, policy: str = 'concat', **kwargs: Any) -> None:
        if policy not in FUSIONS:
            raise UserError(f'FarSegFPN has no policy {policy!r}: choose one of {", ".join(FUSIONS)}')
        super().__init__(policy=policy, **kwargs)
