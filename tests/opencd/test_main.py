"""``python -m hsonet_mm.opencd TOOL.py``: the tool finds a cured environment, its arguments and its neighbours."""

import pytest

from hsonet_mm.opencd.__main__ import main

TOOL = """
import sys
from pathlib import Path
import neighbour
import mmseg.models  # fails with mmcv-lite alone
if __name__ == '__main__':
    print(neighbour.NAME, sys.argv[1:], 'hsonet_mm' in sys.modules, Path(__file__).name)
    sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def tool(tmp_path):
    (tmp_path / 'neighbour.py').write_text("NAME = 'beside it'")
    file = tmp_path / 'tool.py'
    file.write_text(TOOL)
    return file


def test_a_tool_runs_as_if_called_by_itself(tool, run_tool):
    done = run_tool('-m', 'hsonet_mm.opencd', tool, '3', '--flag')
    assert done.returncode == 3, done.stderr
    assert done.stdout.splitlines()[-1] == "beside it ['3', '--flag'] True tool.py"


@pytest.mark.parametrize(
    ('arguments', 'said'), [([], 'name a tool of Open-CD'), (['no.py'], 'there is no file no.py')]
)
def test_without_a_tool_it_says_so(arguments, said):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == f'python -m hsonet_mm.opencd TOOL.py ARGUMENTS: {said}'  # which Python prints
