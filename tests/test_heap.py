"""What the daemon frees goes back to the system: else its resident set grows without a leak (docs/soak.md)."""

import ctypes
import os
import subprocess
import sys

import pytest

_PROBE = """
import ctypes, sys
from fetchd.cli.run import _return_large_blocks

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

told = ctypes.CDLL(None).mallinfo2
told.restype = Info
if "set" in sys.argv:
    _return_large_blocks()
bytes(256 * 1024)  # from its free on, glibc would serve this size from the heap
before = told().hblks
block = bytes(256 * 1024)
print(told().hblks - before)
"""


def _mapped(*arguments: str, **environment: str) -> str:
    kept = {"PATH": os.environ["PATH"], **environment}
    command = [sys.executable, "-c", _PROBE, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=kept, check=True).stdout.strip()


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33 or newer")
def test_a_large_block_is_no_hole_in_the_heap_afterwards() -> None:
    """With glibc's own dynamic threshold it is; and whoever sets a threshold in the environment has it."""
    assert _mapped() == "0"
    assert _mapped("set") == "1"
    assert _mapped("set", MALLOC_MMAP_THRESHOLD_=str(1024 * 1024)) == "0"
