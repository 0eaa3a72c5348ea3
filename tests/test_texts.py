"""Words that depend on a number."""

import pytest

from hsonet_mm.texts import counted

pytestmark = pytest.mark.any_host


@pytest.mark.parametrize(('number', 'text'), [(0, '0 pairs'), (1, '1 pair'), (2000, '2,000 pairs')])
def test_counted(number, text):
    assert counted(number, 'pair') == text
