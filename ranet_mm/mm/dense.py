"""What detection and segmentation need besides the backbone."""

from __future__ import annotations

from importlib.util import find_spec

from mmengine.config.utils import MODULE2PACKAGE
from mmengine.utils import is_installed


def find_libraries() -> None:
    """Let a config inherit `mmseg::...` under whatever name the library was distributed.

    MMEngine looks for the distribution `mmsegmentation`; the maintained one has another name.
    """
    for module, package in MODULE2PACKAGE.items():
        if not is_installed(package) and find_spec(module) is not None:
            MODULE2PACKAGE[module] = module
