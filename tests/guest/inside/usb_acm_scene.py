"""An inertial sensor behind CDC-ACM: pulled, and put back while its number is taken, under another."""

import contextlib
import itertools
import os
import termios
import time
import tty
from pathlib import Path

from sensorium.drivers.live.imu_witmotion import ImuWitmotionConfig
from sensorium.threads import Thread
from tests.drivers.live.test_witmotion_protocol import numbered
from tests.guest.inside.usb_scene import run, taken, until_lost, wait_for

GADGET = Path("/sys/kernel/config/usb_gadget/imu")


def bind(udc: str) -> None:
    (GADGET / "UDC").write_text(f"{udc}\n")


def adapters() -> set[str]:
    return {f"/dev/{port.name}" for port in Path("/sys/class/tty").glob("ttyACM*")}


def test_a_serial_adapter_that_comes_back_under_another_number() -> None:
    """CDC-ACM: its number is taken while it is still open as it was."""
    for module in ("dummy_hcd", "libcomposite", "usb_f_acm", "cdc-acm"):
        run("modprobe", module)
    (GADGET / "strings/0x409").mkdir(parents=True)
    for name, value in (("idVendor", "0x1d6b"), ("idProduct", "0x0104"), ("strings/0x409/serialnumber", "SN001")):
        (GADGET / name).write_text(f"{value}\n")
    (GADGET / "configs/c.1").mkdir()
    (GADGET / "functions/acm.usb0").mkdir()
    (GADGET / "configs/c.1/acm.usb0").symlink_to(GADGET / "functions/acm.usb0")
    udc = next(Path("/sys/class/udc").iterdir()).name
    bind(udc)
    wait_for(adapters)
    wait_for(Path("/dev/ttyGS0").exists)
    stopped: list[bool] = []

    def send() -> None:
        """Its end is hung up when it is pulled, and opened again."""
        while not stopped:
            with contextlib.suppress(OSError, termios.error):
                device = os.open("/dev/ttyGS0", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
                try:
                    tty.setraw(device)
                    for n in itertools.count():
                        if stopped:
                            break
                        with contextlib.suppress(BlockingIOError):  # nobody reads
                            os.write(device, numbered(n % 1000))
                        time.sleep(0.02)
                finally:
                    os.close(device)
            time.sleep(0.1)

    sender = Thread("imu", "sends as a sensor does", send, lambda _: None)
    (port,) = adapters()
    config = ImuWitmotionConfig(port=port, rate_hz=50, open_timeout_s=60, lost_after_s=5)
    try:
        first = config.open("imu", Path())
        assert first.specs[0].calibration == {"usb_serial": "SN001"}
        taken(first, 20)
        bind("")
        bind(udc)
        wait_for(lambda: adapters() - {port})
        until_lost(first)
        back = config.open_again("imu", Path(), first.specs)
        try:
            assert back.specs == first.specs
            taken(back, 20)
        finally:
            back.close()
    finally:
        stopped.append(True)
        sender.join()
        bind("")
