"""The weights that ship with the package, as checkpoints for MMEngine: `ranet_mm://attention56_cifar.cifar10`."""

from __future__ import annotations

from typing import Any

from mmengine.runner import CheckpointLoader

from ..weights import index, verify

SCHEME = 'ranet_mm://'


@CheckpointLoader.register_scheme(prefixes=SCHEME)
def load_from_package(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Shipped weights as a classifier's checkpoint on the CPU, with the keys `backbone.*` and `head.fc.*`.

    MMEngine logs this name without its first ten characters.

    Raises:
        ValueError: No weights of that name are shipped, or their file is damaged.
        FileNotFoundError: Their file is missing.
    """
    from safetensors.torch import load_file

    name, rows = filename.removeprefix(SCHEME), index()
    if name not in rows:
        raise ValueError(f'checkpoint {filename!r} is not shipped: allowed are {", ".join(SCHEME + n for n in rows)}')
    verify(rows[name]['file'], rows[name]['sha256'])
    weights = load_file(rows[name]['file'])
    return dict(
        state_dict={k if k.startswith('head.') else f'backbone.{k}': v for k, v in weights.items()},
        meta=dict(dataset_meta=dict(classes=rows[name]['label_names'])) if 'label_names' in rows[name] else {},
    )
