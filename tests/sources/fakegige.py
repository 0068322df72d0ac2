"""Aravis' fake GigE Vision camera, as a program: ``python -m tests.sources.fakegige SERIAL`` until stdin ends."""

from __future__ import annotations

import sys
from ctypes import c_char_p, c_int, c_void_p

from stainstream.capture.aravis import library

if __name__ == "__main__":
    new = library().arv_gv_fake_camera_new_full
    new.restype, new.argtypes = c_void_p, [c_char_p, c_char_p, c_char_p]
    running = library().arv_gv_fake_camera_is_running
    running.restype, running.argtypes = c_int, [c_void_p]
    camera = new(b"127.0.0.1", sys.argv[1].encode(), None)
    sys.stdout.write(f"{running(camera)}\n")
    sys.stdout.flush()
    sys.stdin.read()
