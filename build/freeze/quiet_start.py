"""Runtime hook on Linux: a start without another process, and threads without heaps of their own.

trio looks for libpthread as it is imported, to give threads names, and `ctypes.util.find_library` runs
`/sbin/ldconfig -p` for that: some 5 ms of every start. Nothing else here asks. And glibc gives threads
separate heaps, so that they need not wait for each other; Python's lock makes them wait anyway, and one heap
takes 3 MB less.
"""

import ctypes
import ctypes.util
from contextlib import suppress

M_ARENA_MAX = -8
"""malloc.h of glibc."""

ctypes.util.find_library = lambda name: None  # noqa: ARG005
with suppress(AttributeError):  # musl has none
    ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)
