"""Each thing in one room, and imports that go one way: docs/development.md has the map."""

import ast
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / 'ranet_mm'
CORE = """
arch attention compat compiling complexity deployment files image_files images layers machine network openvino_graph
recompute runtimes sheets
"""
# From the bottom to the top; a room's modules may import from it and from those before it.
ROOMS = [
    CORE.split(),
    ['weights'],
    ['hub'],
    ['registry'],
    ['timm'],
    ['mm.data'],
    ['mm.models'],
    ['mm.engine'],
    ['mm.config', 'mm.renamed'],
    ['lab'],
    ['cli'],
]
DOORS = ['', 'run', 'convert', 'mm']  # the package's own face, and names of before


def modules():
    files = (f.relative_to(PACKAGE) for f in PACKAGE.rglob('*.py') if '.mim' not in f.parts)
    return {f.as_posix().removesuffix('.py').removesuffix('__init__').strip('/').replace('/', '.'): f for f in files}


def room(module):
    return next(n for n, names in enumerate(ROOMS) for name in names if f'{module}.'.startswith(f'{name}.'))


def imported(module, path):
    """The modules of the package that one of them imports, anywhere in it."""
    inside = ['ranet_mm', *module.split('.')][: None if path.name == '__init__.py' else -1]
    for node in ast.walk(ast.parse((PACKAGE / path).read_text(encoding='utf-8'))):
        if isinstance(node, ast.ImportFrom):
            start = inside[: len(inside) - node.level + 1] if node.level else []
            name = '.'.join([*start, *filter(None, [node.module])])
            yield from (f'{name}.{alias.name}'.removeprefix('ranet_mm.') for alias in node.names if ours(name))
        elif isinstance(node, ast.Import):
            yield from (alias.name.removeprefix('ranet_mm.') for alias in node.names if ours(alias.name))


def ours(name):
    return f'{name}.'.startswith('ranet_mm.')


@pytest.mark.parametrize('module', sorted(set(modules()) - set(DOORS)))
def test_nothing_is_imported_from_a_room_above(module):
    above = [name for name in imported(module, modules()[module]) if name and room(name) > room(module)]
    assert not above


def test_the_prefix_of_a_backbone_is_written_once():
    found = [p for p in sorted(PACKAGE.rglob('*.py')) if '.mim' not in p.parts and strings(p, 'backbone.')]
    assert [p.relative_to(PACKAGE) for p in found] == [Path('weights/keys.py')]


def strings(path, start):
    """The string constants of a module that begin so, its f-strings' included."""
    nodes = ast.walk(ast.parse(path.read_text(encoding='utf-8')))
    return [n for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str) and n.value.startswith(start)]
