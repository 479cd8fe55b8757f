"""Finds the ONNX Runtime library that an installed wheel carries, without importing that wheel."""

import ctypes
import os
import re
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from ._emscore import DeviceError

PACKAGES = ("onnxruntime", "onnxruntime-gpu")
MINIMUM = (1, 20)
OVERRIDE = "EMSCORE_ONNXRUNTIME"
INSTALL_CPU = "pip install onnxruntime"
INSTALL_GPU = 'pip uninstall onnxruntime; pip install "onnxruntime-gpu[cuda,cudnn]"'

_NAMES = {"win32": "onnxruntime.dll", "darwin": "libonnxruntime*.dylib"}
_NAME = _NAMES.get(sys.platform, "libonnxruntime.so*")

# What the CUDA provider links to, each after what it needs itself.
_CUDA = ("cudart", "nvrtc", "cublasLt", "cublas", "curand", "nvJitLink", "cufft", "cudnn")


def find() -> str:
    """Path of the ONNX Runtime library to load.

    The environment variable EMSCORE_ONNXRUNTIME, when set, names it; otherwise it is the one in the
    installed onnxruntime or onnxruntime-gpu.

    Raises:
        DeviceError: There is none, it is older than 1.20, or two packages claim the same place.
    """
    if override := os.environ.get(OVERRIDE):
        if not Path(override).is_file():
            raise DeviceError(
                f"{OVERRIDE} names {override}, which is not a file: let it name the ONNX Runtime "
                f"library ({_NAME}), or unset it to use the installed package's"
            )
        return str(Path(override).resolve())
    if len(installed := [name for name in PACKAGES if _version_of(name)]) > 1:
        raise DeviceError(
            f"{' and '.join(installed)} are both installed and overwrite each other's files: "
            f"pip uninstall {' '.join(installed)}, then pip install the one you want"
        )
    folders = _package_folders()
    if not folders:
        raise DeviceError(
            f"ONNX Runtime is not installed: {INSTALL_CPU} (for an NVIDIA GPU: {INSTALL_GPU})"
        )
    libraries = [path for folder in folders for path in sorted((folder / "capi").glob(_NAME))]
    if not libraries:
        raise DeviceError(
            f"the onnxruntime package in {folders[0]} carries no {_NAME}: it is damaged or half "
            f"uninstalled; pip install --force-reinstall onnxruntime"
        )
    library = libraries[-1]
    found = version(library)
    if found and tuple(map(int, found.split(".")[:2])) < MINIMUM:
        raise DeviceError(
            f"ONNX Runtime {found} in {library.parent} is too old, emscore needs "
            f"{MINIMUM[0]}.{MINIMUM[1]} or newer: pip install --upgrade onnxruntime"
        )
    return str(library.resolve())


def version(library: str | Path) -> str | None:
    """Version of an ONNX Runtime library: by its file name, else that of the installed package."""
    if named := re.search(r"\d+\.\d+\.\d+", Path(library).name):
        return named.group()
    return next(filter(None, map(_version_of, PACKAGES)), None)


def load_cuda(library: str) -> None:
    """Loads the CUDA libraries that pip packages carry, so that the CUDA provider finds them.

    The loader does not look into site-packages by itself. What is missing here may still be found
    on the system; if not, the provider's own error says which.
    """
    if not (Path(library).parent / "libonnxruntime_providers_cuda.so").exists():
        return
    spec = find_spec("nvidia")
    folders = [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
    for name in _CUDA:
        for path in sorted(p for folder in folders for p in folder.glob(f"*/lib/lib{name}.so.*")):
            try:
                ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
            except OSError:
                continue


def _package_folders() -> list[Path]:
    spec = find_spec("onnxruntime")
    return [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]


def _version_of(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
