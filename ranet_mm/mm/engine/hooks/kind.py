"""What kind of hook an entry of a config makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook

from ....registry import HOOKS


def hook_type(entry: Mapping[str, Any] | Hook) -> type:
    """The class of an entry of `custom_hooks`: a hook, or a config with its name or itself."""
    if isinstance(entry, Hook):
        return type(entry)
    kind = entry['type']
    return HOOKS.get(kind) if isinstance(kind, str) else kind
