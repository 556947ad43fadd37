"""An OpenGL context without a display: EGL where it can be had, else OSMesa, else one line on what to install.

By ctypes and not by PyOpenGL, which takes 1.6 s to import, fixes one platform per process and is current in one thread
for ever: here a context is current only while something is drawn, so that any thread may draw next, or close.
"""

import ctypes
import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from sensorium.errors import ConfigError

_CHOICE = "MUJOCO_GL"
"""The variable by which users of MuJoCo choose: `egl` or `osmesa`."""

# From EGL/egl.h, EGL/eglext.h and GL/osmesa.h.
_EGL_OPENGL_API = 0x30A2
_EGL_PLATFORM_DEVICE_EXT = 0x313F
_EGL_CONFIG = (
    *(0x3024, 8, 0x3023, 8, 0x3022, 8, 0x3021, 8),  # red, green, blue, alpha size
    *(0x3025, 24, 0x3026, 8),  # depth, stencil size
    *(0x3033, 0x0001, 0x3040, 0x0008),  # surface type: a pbuffer, renderable type: OpenGL
    0x3038,
)
_MOST_DEVICES = 16
_OSMESA_RGBA, _GL_UNSIGNED_BYTE = 0x1908, 0x1401
_POINTER = ctypes.c_void_p


class _Platform(Protocol):
    """What makes contexts: their handles are passed back to it."""

    name: str

    def make(self, width: int, height: int) -> Any: ...

    def enter(self, handle: Any) -> bool: ...

    def leave(self) -> None: ...

    def free(self, handle: Any) -> None: ...


class Context:
    """One OpenGL context, current between `with context.current():`; for one thread at a time, whichever."""

    def __init__(self, width: int, height: int) -> None:
        self._platform = _platform(os.environ.get(_CHOICE, "").strip().lower())
        self._handle = self._platform.make(width, height)
        self._lock = threading.RLock()

    @property
    def name(self) -> str:
        """`egl` or `osmesa`."""
        return self._platform.name

    @contextmanager
    def current(self) -> Iterator[None]:
        """Draw within it. `RuntimeError` after `free`."""
        with self._lock:
            if self._handle is None or not self._platform.enter(self._handle):
                raise RuntimeError("this OpenGL context was given back: a closed world draws no more")
            try:
                yield
            finally:
                self._platform.leave()

    def free(self) -> None:
        """Give it back; twice is no error."""
        with self._lock:
            if self._handle is not None:
                self._platform.free(self._handle)
            self._handle = None


class _Egl:
    """Contexts on the first device whose EGL display begins: a graphics card, or Mesa's software."""

    name = "egl"

    def __init__(self) -> None:
        # Global, for MuJoCo looks its OpenGL functions up in what the process has loaded.
        lib = self._lib = ctypes.CDLL("libEGL.so.1", mode=ctypes.RTLD_GLOBAL)
        lib.eglGetProcAddress.restype = _POINTER
        lib.eglGetProcAddress.argtypes = [ctypes.c_char_p]
        lib.eglInitialize.argtypes = [_POINTER, _POINTER, _POINTER]
        lib.eglChooseConfig.argtypes = [_POINTER, _POINTER, _POINTER, ctypes.c_int, _POINTER]
        lib.eglCreateContext.restype = _POINTER
        lib.eglCreateContext.argtypes = [_POINTER, _POINTER, _POINTER, _POINTER]
        lib.eglMakeCurrent.argtypes = [_POINTER, _POINTER, _POINTER, _POINTER]
        lib.eglDestroyContext.argtypes = [_POINTER, _POINTER]
        self._display = self._first_display()
        chosen, count = (_POINTER * 1)(), ctypes.c_int()
        wanted = (ctypes.c_int * len(_EGL_CONFIG))(*_EGL_CONFIG)
        lib.eglChooseConfig(self._display, wanted, chosen, 1, ctypes.byref(count))
        if count.value < 1:
            raise OSError("EGL has no configuration with OpenGL, 8 bit colours and 24 bit depth")
        self._config = chosen[0]
        self.free(self.make(1, 1))

    def _first_display(self) -> int:
        query_type = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, _POINTER, _POINTER)
        display_type = ctypes.CFUNCTYPE(_POINTER, ctypes.c_uint, _POINTER, _POINTER)
        query = self._lib.eglGetProcAddress(b"eglQueryDevicesEXT")
        display_of = self._lib.eglGetProcAddress(b"eglGetPlatformDisplayEXT")
        devices, count = (_POINTER * _MOST_DEVICES)(), ctypes.c_int()
        if query and display_of:
            query_type(query)(_MOST_DEVICES, devices, ctypes.byref(count))
            for device in devices[: count.value]:
                display = display_type(display_of)(_EGL_PLATFORM_DEVICE_EXT, device, None)
                if display and self._lib.eglInitialize(display, None, None):
                    return int(display)
        raise OSError("EGL has no device")

    def make(self, width: int, height: int) -> Any:  # noqa: ARG002 (MuJoCo draws into a buffer of its own)
        self._lib.eglBindAPI(_EGL_OPENGL_API)  # holds for the thread
        handle = self._lib.eglCreateContext(self._display, self._config, None, None)
        if not handle:
            raise OSError("EGL makes no OpenGL context")
        return handle

    def enter(self, handle: Any) -> bool:
        self._lib.eglBindAPI(_EGL_OPENGL_API)
        return bool(self._lib.eglMakeCurrent(self._display, None, None, handle))

    def leave(self) -> None:
        self._lib.eglMakeCurrent(self._display, None, None, None)

    def free(self, handle: Any) -> None:
        self._lib.eglDestroyContext(self._display, handle)


class _OsMesa:
    """Contexts of Mesa's renderer in software, which needs neither device nor driver."""

    name = "osmesa"

    def __init__(self) -> None:
        for name in ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so"):
            try:
                lib = self._lib = ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
                break
            except OSError:
                continue
        else:
            raise OSError("libOSMesa.so.8 is not there")
        lib.OSMesaCreateContextExt.restype = _POINTER
        lib.OSMesaCreateContextExt.argtypes = [ctypes.c_uint, *[ctypes.c_int] * 3, _POINTER]
        lib.OSMesaMakeCurrent.restype = ctypes.c_ubyte
        lib.OSMesaMakeCurrent.argtypes = [_POINTER, _POINTER, ctypes.c_uint, ctypes.c_int, ctypes.c_int]
        lib.OSMesaDestroyContext.argtypes = [_POINTER]

    def make(self, width: int, height: int) -> Any:
        handle = self._lib.OSMesaCreateContextExt(_OSMESA_RGBA, 24, 8, 0, None)
        if not handle:
            raise OSError("OSMesa makes no OpenGL context")
        return handle, (ctypes.c_ubyte * (4 * width * height))(), width, height

    def enter(self, handle: Any) -> bool:
        context, pixels, width, height = handle
        return bool(self._lib.OSMesaMakeCurrent(context, pixels, _GL_UNSIGNED_BYTE, width, height))

    def leave(self) -> None:
        self._lib.OSMesaMakeCurrent(None, None, _GL_UNSIGNED_BYTE, 0, 0)

    def free(self, handle: Any) -> None:
        self._lib.OSMesaDestroyContext(handle[0])


@functools.cache
def _platform(choice: str) -> _Platform:
    """The platform that the user chose, else the first that works; it is loaded once and stays.

    Raises:
        ConfigError: none works, in one line with what to install.
    """
    kinds: dict[str, type[_Egl] | type[_OsMesa]] = {"egl": _Egl, "osmesa": _OsMesa}
    why = []
    for name in [choice] if choice in kinds else kinds:
        try:
            return kinds[name]()
        except (OSError, AttributeError) as error:  # no library, or one without the function
            why.append(f"{name}: {error}")
    raise ConfigError(
        f"no OpenGL to draw pictures with ({'; '.join(why)}); install EGL (Debian: apt-get install libegl1"
        " libgl1-mesa-dri) or OSMesa (Debian: apt-get install libosmesa6)"
    )
