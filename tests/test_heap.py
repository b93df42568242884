"""What the daemon frees goes back to the system: else its resident set grows without a leak (docs/soak.md)."""

import ctypes
import os
import subprocess
import sys

import pytest

from fetchd.heap import Heap

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33 or newer")

_SETTLED = """
import ctypes, os, sys, threading
from fetchd.heap import settle

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
if "settle" in sys.argv:
    settle(os.environ)
"""

_LARGE_BLOCK = """
bytes(256 * 1024)  # from its free on, glibc would serve this size from the heap
before = libc.mallinfo2().hblks
block = bytes(256 * 1024)
print(libc.mallinfo2().hblks - before)
"""

_THREADS = """
barrier = threading.Barrier(6)

def allocate():
    barrier.wait()  # all are alive at once
    kept = [bytes(1000) for _ in range(100)]
    barrier.wait()

threads = [threading.Thread(target=allocate) for _ in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fopen.restype = ctypes.c_void_p
libc.fclose.argtypes = [ctypes.c_void_p]
stream = libc.fopen(b"/dev/stdout", b"w")
libc.malloc_info(0, stream)
libc.fclose(stream)
"""

_TRIMMED = """
from fetchd.heap import Heap

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

libc.mallopt(-3, 2**25)  # everything on the heap
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
blocks = [libc.malloc(100_000) for _ in range(400)]
for block in blocks:
    ctypes.memset(block, 1, 100_000)
for block in blocks[:-1]:  # the last one stays at the end of the heap, which therefore does not shrink by itself
    libc.free(ctypes.c_void_p(block))
heap = Heap(every=3)
for _ in range(int(sys.argv[1])):
    heap.session_ended()
print(resident() // 10**6)
"""


def _run(probe: str, *arguments: str, **environment: str) -> str:
    kept = {"PATH": os.environ["PATH"], **environment}
    command = [sys.executable, "-c", _SETTLED + probe, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=kept, check=True).stdout.strip()


def test_a_large_block_is_no_hole_in_the_heap_afterwards() -> None:
    """With glibc's own dynamic threshold it is; and whoever sets a threshold in the environment has it."""
    assert _run(_LARGE_BLOCK) == "0"
    assert _run(_LARGE_BLOCK, "settle") == "1"
    assert _run(_LARGE_BLOCK, "settle", MALLOC_MMAP_THRESHOLD_=str(1024 * 1024)) == "0"


def test_many_threads_share_two_heaps() -> None:
    """Whoever sets another number in the environment has it."""
    heaps = {
        (settled, most): _run(_THREADS, *settled, **({"MALLOC_ARENA_MAX": most} if most else {})).count("<heap ")
        for settled, most in [((), ""), (("settle",), ""), (("settle",), "3")]
    }
    assert heaps[(), ""] > 3
    assert heaps[("settle",), ""] == 2
    assert heaps[("settle",), "3"] == 3


def test_every_so_many_sessions_what_is_free_goes_back_to_the_system() -> None:
    before, after = int(_run(_TRIMMED, "2")), int(_run(_TRIMMED, "3"))
    assert before > 25
    assert after < before - 15


def test_a_library_that_has_no_such_functions_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Musl's."""
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    heap = Heap(every=1)
    heap.session_ended()
