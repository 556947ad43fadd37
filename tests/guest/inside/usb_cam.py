"""Webcams over USB/IP that this program is: 320x240 MJPG at 15 Hz, whose grey values tell the cameras apart.

    python -m tests.guest.inside.usb_cam NAME SERIAL GREY [NAME SERIAL GREY ...]

They are there as 1-1, 1-2, ... at 127.0.0.1 until this process ends; `usbip attach -r 127.0.0.1 -b 1-1` plugs one in.
Needs the package `usbip`.
"""

import sys
import time
from collections.abc import Callable

import cv2
import numpy as np
from usbip.classes.device import UVC
from usbip.device import USBDevice

RATE_HZ = 15
WIDTH, HEIGHT = 320, 240


def pictures(grey: int) -> Callable[[object, object, int], bytes]:
    """What the class asks for, which does not pace itself: a JPEG, when it is due."""
    item = cv2.imencode(".jpg", np.full((HEIGHT, WIDTH, 3), grey, np.uint8))[1].tobytes()
    begun_s = [0.0]

    def source(streaming: object, channel: object, number: int) -> bytes:
        if number == 0:
            begun_s[0] = time.monotonic()
        time.sleep(max(0.0, begun_s[0] + number / RATE_HZ - time.monotonic()))
        return item

    return source


def main() -> None:
    """Be all of them."""
    said = sys.argv[1:]
    for name, serial, grey in zip(said[::3], said[1::3], said[2::3], strict=True):
        device = USBDevice(0x1209, 0x00C0, manufacturer="Played", product=name, serial=serial)
        device.add(UVC(width=WIDTH, height=HEIGHT, fps=RATE_HZ, formats=("mjpeg",), source=pictures(int(grey))))
        device.plug()
    print("plugged", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
