"""What the C library does with memory that a training step frees."""

import ctypes
import os
import platform

# parameters of mallopt in glibc (malloc.h) and their values: free bytes at the end of the heap above which they are
# returned, bytes by which the heap grows beyond a request, and number of blocks with pages of their own
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = (-1, 2**31 - 1), (-2, 1 << 26), (-4, 0)
TUNING = ('MALLOC_', 'GLIBC_TUNABLES')  # names of the variables by which a user tunes the allocation, or their start


def keep_freed_memory() -> bool:
    """Keeps up to 2 GiB of freed memory in this process for its next tensors.

    By default, glibc returns the memory of every large tensor to the operating system, which clears each page anew for
    the next tensor. A training step on a CPU allocates gigabytes in this way. The setting holds until the process ends.
    Without effect with other C libraries, or if an environment variable (``MALLOC_...``, ``GLIBC_TUNABLES``) tunes the
    allocation.

    Returns:
        Whether freed memory is kept.
    """
    if platform.libc_ver()[0] != 'glibc' or any(name.startswith(TUNING) for name in os.environ):
        return False
    libc = ctypes.CDLL(None)
    return all(libc.mallopt(parameter, value) for parameter, value in (TRIM_THRESHOLD, TOP_PAD, MMAP_MAX))
