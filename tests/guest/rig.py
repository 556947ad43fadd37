"""A guest kernel with real sensor devices: Debian's kernel in QEMU, this machine's root below it, read-only."""

import gzip
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "modprobe": "kmod",
    "depmod": "kmod",
    "cpio": "cpio",
    "apt-get": "apt",
    "dpkg": "dpkg",
    "v4l2-ctl": "v4l-utils",
    "usbip": "usbip",
}
"""What a rig and its scenes are made of, and the Debian package of each."""

KERNEL = "linux-image-amd64"
EARLY = ("virtio_pci", "9p", "9pnet_virtio", "overlay")
"""The modules without which the guest does not find its root."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in $(cat /modules.order); do insmod $module; done
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000 host /below
mount -t tmpfs tmpfs /above; mkdir -p /above/upper /above/work
mount -t overlay -o lowerdir=/below,upperdir=/above/upper,workdir=/above/work overlay /root
mkdir -p /root/lib/modules; ln -sfn {modules} /root/lib/modules/{release}
for folder in proc sys dev; do mount --move /$folder /root/$folder; done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 out /root/mnt
exec switch_root /root /bin/bash /mnt/boot.sh
"""

_BOOT = """exec >/mnt/log 2>&1
export PATH={path} HOME=/tmp LANG=C.UTF-8 PYTHONUNBUFFERED=1
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts; mount -t tmpfs shm /dev/shm; mount -t tmpfs run /run
ip link set lo up; modprobe configfs; mount -t configfs c /sys/kernel/config
cd {root} && {command}
echo $? > /mnt/status; sync; echo o > /proc/sysrq-trigger; /bin/busybox sleep 60
"""


def missing() -> str:
    """Why there can be no rig here, in one line, or empty."""
    if os.geteuid() != 0:
        return "a guest kernel needs root, whose files it sees"
    path = os.environ.get("PATH", "") + ":" + PATH  # where a user's path leaves out sbin
    lack = sorted({package for program, package in PROGRAMS.items() if not shutil.which(program, path=path)})
    return f"no guest kernel: apt-get install --no-install-recommends {' '.join(lack)}" if lack else ""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended in the guest (None: it did not within its time), and all that it and the guest said."""

    status: int | None
    said: str


class Rig:
    """The kernel, its modules and what boots it, made once in a folder of this user's cache.

    Raises:
        RuntimeError: a program that makes it failed.
    """

    def __init__(self, folder: Path | None = None) -> None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self._folder = folder or cache / "sensorium" / "guest"
        self._initrd = self._folder / "initrd.gz"
        if not self._initrd.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._make()

    def run(self, command: Sequence[str], root: Path, out: Path, within_s: float) -> Ran:
        """Run `command` as root in a guest of its own, in the folder `root`; what it leaves in /mnt is in `out`."""
        (out / "boot.sh").write_text(_BOOT.format(path=PATH, root=shlex.quote(str(root)), command=shlex.join(command)))
        qemu = [
            *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "3072"),
            *("-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio"),
            *("-kernel", str(self._kernel()), "-initrd", str(self._initrd)),
            *("-append", "console=ttyS0 quiet loglevel=3 panic=1"),
            *("-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"),
            *("-virtfs", f"local,path={out},mount_tag=out,security_model=none"),
        ]
        try:
            console = subprocess.run(
                qemu, stdin=subprocess.DEVNULL, capture_output=True, timeout=within_s, check=False
            ).stdout
        except subprocess.TimeoutExpired as late:
            console = late.stdout or b""
        log, status = out / "log", out / "status"
        said = console.decode(errors="replace") + (log.read_text(errors="replace") if log.exists() else "")
        return Ran(int(status.read_text()) if status.exists() else None, said)

    def _kernel(self) -> Path:
        return next((self._folder / "kernel" / "boot").glob("vmlinuz-*"))

    def _make(self) -> None:
        packages, kernel = self._folder / "packages", self._folder / "kernel"
        packages.mkdir(exist_ok=True)
        depends = _run(["apt-cache", "depends", KERNEL], self._folder).split()
        _run(["apt-get", "download", depends[depends.index("Depends:") + 1]], packages)
        for package in packages.glob("*.deb"):
            _run(["dpkg", "-x", str(package), str(kernel)], self._folder)
        modules = next((kernel / "lib" / "modules").iterdir())
        _run(["depmod", "-b", str(kernel), modules.name], self._folder)
        early: dict[str, None] = {}
        for name in EARLY:
            shown = _run(["modprobe", "-d", str(kernel), "-S", modules.name, "--show-depends", name], self._folder)
            early |= dict.fromkeys(line.split()[1] for line in shown.splitlines() if line.startswith("insmod"))
        self._pack(modules, [Path(path) for path in early])

    def _pack(self, modules: Path, early: Sequence[Path]) -> None:
        """Write the first root, whose `init` goes on to that of this machine."""
        first = self._folder / "first"
        for name in ("bin", "proc", "sys", "dev", "modules", "root", "below", "above"):
            (first / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(shutil.which("busybox") or "busybox", first / "bin" / "busybox")
        for module in early:
            shutil.copy(module, first / "modules")
        (first / "modules.order").write_text("".join(f"/modules/{module.name}\n" for module in early))
        (first / "init").write_text(_INIT.format(modules=modules, release=modules.name))
        (first / "init").chmod(0o755)
        names = "\n".join(str(path.relative_to(first)) for path in [first, *sorted(first.rglob("*"))])
        packed = subprocess.run(
            ["cpio", "-o", "-H", "newc", "--quiet"], cwd=first, input=names.encode(), capture_output=True, check=True
        )
        part = self._initrd.with_suffix(".part")
        part.write_bytes(gzip.compress(packed.stdout, 1))
        part.rename(self._initrd)


def _run(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)}: {done.stderr.strip()}")
    return done.stdout
