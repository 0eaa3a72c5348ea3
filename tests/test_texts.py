"""Words that depend on a number."""

import pytest

from hsonet_mm.texts import counted, threshold_text

pytestmark = pytest.mark.any_host


@pytest.mark.parametrize(('number', 'text'), [(0, '0 pairs'), (1, '1 pair'), (2000, '2,000 pairs')])
def test_counted(number, text):
    assert counted(number, 'pair') == text


@pytest.mark.parametrize(
    ('threshold', 'text'), [(0.401367, '0.401'), (0.5, '0.5'), (0.00012345, '0.000123'), (0.9999, '0.9999')]
)
def test_threshold(threshold, text):
    assert threshold_text(threshold) == text
