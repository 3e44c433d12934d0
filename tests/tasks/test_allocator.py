import sys

import pytest

_FAULTS = """
import ctypes, resource, torch
from srzoo.tasks.allocator import keep_freed_memory, return_freed_memory
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: pages of 4 KiB, whatever the machine's setting
assert not keep_freed_memory("cuda")
print(keep_freed_memory())
torch.ones(1 << 25)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(1 << 24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
def resident():
    return int(open("/proc/self/statm").read().split()[1])
kept, under = torch.ones(1 << 24), torch.ones(1)
del kept
before = resident()
return_freed_memory(49)
is_same = before - resident() < 1000
return_freed_memory(50)
print(is_same, before - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs glibc")
def test_freed_memory_is_reused(run_python):
    """64 MiB are 16,384 pages, which fault again only if the user has configured the allocator."""
    for env, done in (({}, "True"), ({"MALLOC_ARENA_MAX": "2"}, "False")):
        result = run_python("-c", _FAULTS, env=env)
        assert result.returncode == 0, result.stderr
        answer, faults, is_same, returned = result.stdout.split()
        assert answer == done and is_same == "True"
        assert done == "False" or int(returned) > 10_000
        assert (int(faults) < 1000) == (done == "True")
