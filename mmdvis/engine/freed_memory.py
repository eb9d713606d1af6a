"""Reuse of freed memory in training on a CPU."""

import ctypes
import os
import platform

# parameters of mallopt in glibc (malloc.h) and their values: free bytes at the end of the heap above which they are
# returned, bytes by which the heap grows beyond a request, and number of blocks with pages of their own
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = (-1, 2**31 - 1), (-2, 1 << 26), (-4, 0)
TUNING = ('MALLOC_', 'GLIBC_TUNABLES')  # environment variables that configure the allocation begin with one of these


def keep_freed_memory() -> bool:
    """Makes the C library reuse up to 2 GiB of freed memory instead of returning it to the operating system.

    By default, glibc returns the memory of every large tensor to the operating system, which clears each page anew for
    the next tensor. In a training step on a CPU, these are hundreds of megabytes. The setting holds until the process
    ends. It has no effect with other C libraries, or if an environment variable (``MALLOC_...``, ``GLIBC_TUNABLES``)
    already configures the allocation.

    Returns:
        Whether the setting is in effect.
    """
    if platform.libc_ver()[0] != 'glibc' or any(name.startswith(TUNING) for name in os.environ):
        return False
    libc = ctypes.CDLL(None)
    return all(libc.mallopt(parameter, value) for parameter, value in (TRIM_THRESHOLD, TOP_PAD, MMAP_MAX))
