"""The test pipeline that a checkpoint describes, run without running anyone's code."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from typing import Any

FILES = 'backend_args', 'file_client_args'  # of loaders: where files of a training run were; those to predict are here


def build(pipeline: list[Mapping[str, Any]]) -> Callable[[dict], dict | None]:
    """The pipeline, of transforms alone that mmcv, mmpretrain or this package has registered, nested ones too.

    MMEngine's registries import what a dotted name leads to, and so would run what a file names.

    Raises:
        ValueError: A transform is not registered, or not to be made of plain data.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # mmpretrain greets with what it could not import
        from mmengine.dataset import Compose
        from mmengine.registry import DefaultScope
        from mmpretrain.registry import TRANSFORMS

        cfgs = [checked(transform) for transform in pipeline]
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return Compose([TRANSFORMS.build(cfg) for cfg in cfgs])


def checked(value: Any) -> Any:
    """Plain data with each `type` as its registry has it, and tuples of numbers in place of lists, as configs have."""
    if isinstance(value, list | tuple):
        entries = [checked(entry) for entry in value]
        return tuple(entries) if all(isinstance(entry, int | float) for entry in entries) else entries
    if not isinstance(value, Mapping):
        return value
    found = {k: checked(v) for k, v in value.items() if k not in ('_scope_', *FILES)}
    if 'type' in found:
        found['type'] = registered(found['type'])
    if not str(found.get('dtype') or 'uint8').isidentifier():  # mmpretrain evaluates it as an expression
        raise ValueError(f"the checkpoint's pipeline is not run: dtype={found['dtype']!r} is not allowed")
    return found


def registered(name: Any) -> str:
    """The name under which a registry has a transform that a config names, by that name or by its class's path.

    Raises:
        ValueError: None has it.
    """
    from mmpretrain.registry import TRANSFORMS

    from ...registry import TRANSFORMS as OWN

    for registry in (TRANSFORMS, OWN):
        registry.import_from_location()
    tables = dict(ranet_mm=OWN.module_dict, mmpretrain=TRANSFORMS.module_dict, mmengine=TRANSFORMS.parent.module_dict)
    name = str(name)
    last = name.rpartition('.')[2]
    for owner, table in tables.items():
        place = getattr(table.get(last), '__module__', None)
        if place and (name in (last, f'{owner}.{last}') or f'{place}.'.startswith(name.removesuffix(last))):
            return f'{owner}.{last}' if owner == 'ranet_mm' else last
    raise ValueError(
        f"the checkpoint's pipeline is not run: its transform {name!r} is registered neither by mmcv nor by "
        'mmpretrain nor by ranet_mm'
    )
