"""Mutants: the package with one operator, number, condition or decorator changed, and whether the tests notice.

    pip install cosmic-ray
    python tests/mutants.py [MODULE...] [--each 25] [--jobs 2] [--record FILE.json]

cosmic-ray says what can be changed; a mutant runs the tests of its module in a fork of a process that has the libraries
loaded, in a copy of the checkout. Annotations are left alone, since they are never evaluated.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
KNOWN = Path(__file__).with_name('mutants.json')  # those that change nothing, each with the reason
PACKAGE = 'ranet_mm'
ENTRY = 'module', 'change', 'line', 'before', 'after'
LEAST, TIMES = 60, 4  # seconds that tests may take: at least, and as a multiple of what they take unchanged

# Which tests look at a module, the quickest first: of files those that are not slow, and then what is named in them.
NETWORK = 'network layers numbers parity layout'
WEIGHTS = 'backbone_weights fuzz description checkpoint'
DEVICE = 'device_data busy'
PARTS = 'batch', 'cache', 'dataset', 'draws', 'mixing', 'pipeline', 'preprocessor', 'transforms', 'trivial'
TESTS = {
    'layers.py': f'{NETWORK} export::test_logits_of_any_batch_and_size deploy::test_scripted_traced_and_exported',
    'network.py': f'{NETWORK} recompute::test_graphs_of_a_network_are_the_same',
    'arch.py': f'{NETWORK} fuzz deepen complexity',
    'timm/residual_attention.py': 'fuzz timm',
    'mm/models/backbone.py': 'mm backbone_weights parity wiring',
    'mm/models/head.py': 'device_data mm parity',
    'mm/models/neck.py': 'mm parity wiring',
    'weights/description.py': f'{WEIGHTS} safe_files::TestMemory',
    'weights/fit.py': WEIGHTS,
    'weights/keys.py': WEIGHTS,
    'weights/__init__.py': f'{WEIGHTS} card',
    'weights/read.py': f'{WEIGHTS} safe_files',
    'mm/engine/loops.py': 'loops crash continuing tools::TestInterruption',
    'mm/engine/hooks/interrupt.py': 'interrupt tools::TestInterruption',
    'mm/engine/hooks/checkpoint.py': 'continuing crash',
    **{f'mm/data/device/{name}.py': DEVICE for name in PARTS},
}


class Mutant(NamedTuple):
    """One change of a module."""

    module: str
    change: str
    line: int
    before: str
    after: str
    code: str


def places(module: str) -> list[tuple[str, int]]:
    """What can be changed in a module, but in its annotations: kinds of changes, each with the number of the place."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    code = (ROOT / PACKAGE / module).read_text()
    tree, unread, found = get_ast(code), annotations(code), []
    for name in operator_names():
        kind = get_operator(name)
        if not kind.arguments():
            starts = [start for node in ast_nodes(tree) for start, _ in kind().mutation_positions(node)]
            read = [not any(first <= start < last for first, last in unread) for start in starts]
            found += [(name, number) for number, is_read in enumerate(read) if is_read]
    return found


def drawn(module: str, found: list[tuple[str, int]], count: int, seed: int) -> list[Mutant]:
    """Some of the mutants of a module."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    code, mutants = (ROOT / PACKAGE / module).read_text(), []
    for name, number in random.Random(f'{seed}/{module}').sample(found, len(found)):
        try:
            changed = mutate_code(code, get_operator(name)(), number)
        except AttributeError:  # of `except module.Error`, where cosmic-ray expects a plain name
            continue
        pairs = zip(code.splitlines(), changed.splitlines(), strict=False)
        line, (before, after) = next((n, pair) for n, pair in enumerate(pairs, 1) if pair[0] != pair[1])
        mutants.append(Mutant(module, name.removeprefix('core/'), line, before.strip(), after.strip(), changed))
        if len(mutants) == count:
            break
    return mutants


def annotations(code: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where annotations begin and end: lines from 1, columns from 0."""
    found = []
    for node in ast.walk(ast.parse(code)):
        for part in (getattr(node, 'annotation', None), getattr(node, 'returns', None)):
            if part is not None:
                found.append(((part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)))
    return found


def tried(mutant: Mutant | None, module: str, folder: Path, limit: float) -> tuple[bool, float]:
    """Run the tests of a module in a copy of the checkout; whether they pass, and the seconds they took."""
    path = folder / PACKAGE / module
    whole, began = path.read_text(), time.monotonic()
    if mutant:
        path.write_text(mutant.code)
    child = os.fork()
    if not child:
        os.setsid()
        os._exit(tested(module, folder))
    try:
        while time.monotonic() - began < limit:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return status == 0, time.monotonic() - began
            time.sleep(0.05)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return False, limit
    finally:
        path.write_text(whole)


def tested(module: str, folder: Path) -> int:
    """The exit status of pytest, in a process of its own."""
    import pytest

    null = os.open(folder / 'log.txt', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(null, 1), os.dup2(null, 2)
    os.chdir(folder)
    os.environ.update(PYTHONPATH=str(folder), PYTHONDONTWRITEBYTECODE='1')
    sys.dont_write_bytecode = True
    sys.path[:0] = [str(folder), str(folder / 'tests')]
    paths = [name.partition('::') for name in TESTS[module].split()]
    files, single = (
        [f'tests/test_{p[0]}.py{p[1]}{p[2]}' for p in paths if bool(p[1]) == named] for named in (False, True)
    )
    quick = pytest.main(['-x', '-q', '-p', 'no:cacheprovider', '-m', 'not slow', *files])
    return int(quick or (pytest.main(['-x', '-q', '-p', 'no:cacheprovider', *single]) if single else 0))


def copied(folder: Path) -> Path:
    """A copy of what git tracks."""
    names = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, names.split('\0')):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    return folder


def load() -> None:
    """What tests import, but the package."""
    import mmengine.runner  # noqa: F401
    import mmpretrain.models  # noqa: F401
    import timm  # noqa: F401
    import torch

    torch.set_num_threads(1)


def row(module: str, args: argparse.Namespace, folders: SimpleQueue) -> dict[str, Any]:
    """Try mutants of a module; a row of the table."""
    known = {(k['module'], k['change'], k['before'], k['after']): k['reason'] for k in json.loads(KNOWN.read_text())}
    found = places(module)
    mutants = drawn(module, found, args.each, args.seed)
    kept = [dict(zip(ENTRY, mutant, strict=False)) for mutant in mutants]
    if args.again:
        lived = [
            {key: life[key] for key in ENTRY}
            for row in json.loads(args.record.read_text())['rows']
            for life in row['lives']
            if row['module'] == module
        ]
        mutants = [mutant for mutant, entry in zip(mutants, kept, strict=True) if entry in lived]
    folder = folders.get()
    passes, seconds = tried(None, module, folder, 3600)
    log = (folder / 'log.txt').read_text()
    folders.put(folder)
    if not passes:
        raise SystemExit(f'error: the tests of {module} fail without a mutant:\n{log}')

    def attempt(mutant: Mutant) -> bool:
        folder = folders.get()
        try:
            return tried(mutant, module, folder, max(LEAST, TIMES * seconds))[0]
        finally:
            folders.put(folder)

    with ThreadPoolExecutor(args.jobs) as pool:
        lives = [m for m, survives in zip(mutants, pool.map(attempt, mutants), strict=True) if survives]
    listed = [dict(zip(ENTRY, mutant, strict=False)) for mutant in lives]
    for entry in listed:
        entry['reason'] = known.get(tuple(entry[k] for k in ('module', 'change', 'before', 'after')), '')
    same = sum(bool(entry['reason']) for entry in listed)
    return dict(
        module=module, mutants=len(found), tried=len(kept), same=same, killed=len(kept) - len(lives), lives=listed
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('modules', nargs='*', metavar='MODULE', help=f'below {PACKAGE}/; all where left out')
    parser.add_argument('--each', type=int, default=25, help='mutants of each module, drawn at random')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--jobs', type=int, default=1, help='mutants at a time')
    parser.add_argument('--again', action='store_true', help='only those that the record says live')
    parser.add_argument('--record', type=Path, help='write the rows to this file, beside those of other modules')
    args = parser.parse_args()
    load()
    with tempfile.TemporaryDirectory() as scratch:
        folders: SimpleQueue = SimpleQueue()
        for number in range(args.jobs):
            folders.put(copied(Path(scratch) / str(number)))
        for module in args.modules or TESTS:
            found = row(module, args, folders)
            print(json.dumps(found, indent=1), flush=True)
            if args.record:
                note(args.record, found)
    return 0


def note(path: Path, found: dict[str, Any]) -> None:
    """Put a row into a record, in the place of the one that the module has there."""
    rows = json.loads(path.read_text())['rows'] if path.exists() else []
    rows = [r for r in rows if r['module'] != found['module']] + [found]
    rows.sort(key=lambda r: [*TESTS].index(r['module']))
    path.write_text(json.dumps(dict(command='python tests/mutants.py', rows=rows), indent=1) + '\n')


if __name__ == '__main__':
    sys.exit(main())
