"""The processes of ``torchrun``."""

import sys

import pytest

PROGRAM = """
import os
from srzoo.evaluate.distributed import gather, process_group

with process_group("cpu"):
    import srzoo.predict  # whose imports must not keep the group

    assert len(gather(1)) == 2
names = [open(f"/proc/self/task/{each}/comm").read().strip() for each in os.listdir("/proc/self/task")]
left = [name for name in names if "gloo" in name]
assert not left, left
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_no_thread_of_the_group_is_left_when_it_is_destroyed(tmp_path, run_python):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = run_python(*launcher, str(program), env={"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
