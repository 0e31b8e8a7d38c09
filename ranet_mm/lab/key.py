"""What a run is known by: the settings that make its result, wherever its config lies."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..mm import config as reader

if TYPE_CHECKING:
    from mmengine.config import Config


@functools.cache
def identity(config: str, path: str, options: str) -> tuple[str, str]:
    """The network of a config with options, and a digest of the settings that make a run's result but for its seed.

    A config that moves, or says the same in other words, leaves them as they are. One that does not exist, or does not
    take the options, is told by its name and theirs: its runs fail, and have no record.

    Args:
        config: As the sweep file says it.
        path: Where that is; two configs of one name are two.
        options: As JSON.
    """
    from mmengine.config import Config

    from ..mm.engine.workdir import fingerprint

    stem = Path(config).stem
    try:
        cfg, more = _file(config, path)
        cfg = reader.changed(copy.deepcopy(cfg), json.loads(options), more)
    except Exception:
        return stem, digest([config, json.loads(options)])
    known = reader.runner_fields()
    settings = Config({name: value for name, value in cfg.to_dict().items() if name in known and value is not None})
    settings.get('randomness', {}).pop('seed', None)
    found, start = fingerprint(settings), settings.get('load_from')  # a work dir tells its start by itself
    backbone = settings.get('model', {}).get('backbone', {})
    kind, arch = backbone.get('type', '').rpartition('.')[2].partition('_')[0].lower(), backbone.get('arch')
    network = arch if isinstance(arch, str) else f'{kind}{backbone.get("depth", "")}'
    return network or stem, digest([found, start]) if start else found


@functools.cache
def _file(config: str, path: str) -> tuple[Config, dict[str, Any]]:
    return reader.read_file(config)


def digest(value: Any) -> str:
    """Of a value that JSON has."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
