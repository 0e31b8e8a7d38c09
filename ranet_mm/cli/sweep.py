"""Run the grids of sweep files: skip finished runs, resume cut ones, go on after a failed one."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import shlex
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from ..lab.cluster import CLUSTERS, CellJob, submit
from ..lab.cost import images
from ..lab.grid import REST, Cell, collect
from ..lab.pool import Places, Pool
from ..machine import cores
from .program import COUNT, Positive, command, option, parse_options, sentence

FAILED, UNFINISHED = 1, 3
RATES = (10_000, 20_000)  # images/s
JOBS = 'jobs'  # folder of what a cluster's jobs write
DAY = 24 * 60.0  # minutes


@command(
    option('files', nargs='+', metavar='FILE', help='sweep files, the most valuable first'),
    option('--only', nargs='+', default=[], metavar='AXIS=VALUE', help='run these cells alone'),
    option('--max-minutes', type=float, action=Positive, default=math.inf, metavar='M',
           help='then stop: running cells write a checkpoint, from which the next call goes on'),
    option('--jobs', **COUNT, help="cells at a time, instead of what the files' jobs say"),
    option('--threads', **COUNT, help='threads of each cell (cores / jobs by default)'),
    option('--dry-run', action='store_true', help='list the cells: state, seconds, command'),
    option('--work-dir', type=Path, default=Path('work_dirs/sweeps'), help='where the runs go'),
    option('--records', type=Path, default=Path('results'), help='where records of finished runs go'),
    option('--cluster', choices=CLUSTERS, help='submit the cells as jobs, of --max-minutes at a time each'),
    option('--partition', metavar='NAME', help='of Slurm, for the jobs'),
    option('--cluster-options', nargs='+', default=[], metavar='KEY=VALUE',
           help='what each job asks for, as in gpus_per_node=1 or slurm_qos=long'),
    epilog='Exit code: 0 every cell has its record, 1 a cell failed, 3 cells are left for the next call.',
)  # fmt: skip
def main(args: Namespace) -> int:
    """Run what has no record yet; the exit code tells what is left."""
    cells = collect(args.files, args.only)
    if args.jobs:
        cells = [dataclasses.replace(c, jobs=args.jobs) for c in cells]
    places = Places(args.work_dir, args.records)
    if args.dry_run:
        show(cells, places)
        return 0
    states = [places.state(c) for c in cells]
    for cell, state in zip(cells, states, strict=True):
        if cell.minutes == REST and state != 'done' and args.max_minutes == math.inf:
            raise ValueError(f'{cell.title} takes the rest of the time: --max-minutes must say how much there is')
    if args.cluster:
        return send(args, [c for c, state in zip(cells, states, strict=True) if state != 'done'], places)
    from ..lab.board import Board

    asked = args.threads or int(os.environ.get('OMP_NUM_THREADS', 0))
    threads = asked or max(1, cores() // max(c.jobs for c in cells))
    pool = Pool(cells, places, Board(len(cells), states.count('done')), threads, 60 * args.max_minutes)
    outcomes = pool.run()
    left = outcomes['cut'] + outcomes['waiting']
    done = states.count('done') + outcomes['done']
    print(f'{done} of {len(cells)} cells done, {outcomes["failed"]} failed, {left} left')
    if outcomes['failed']:
        return FAILED
    return UNFINISHED if left else 0


def send(args: Namespace, cells: Sequence[Cell], places: Places) -> int:
    """Submit cells to a cluster; the exit code is that of cells that are left."""
    minutes = DAY if args.max_minutes == math.inf else args.max_minutes
    options = dict(
        name='ranet', timeout_min=math.ceil(minutes), cpus_per_task=args.threads, slurm_partition=args.partition
    )
    jobs = [CellJob(dataclasses.replace(c, jobs=1), places, args.threads, minutes) for c in cells]
    submitted = submit(jobs, places.runs / JOBS, args.cluster, options | parse_options(args.cluster_options))
    for cell, job in zip(cells, submitted, strict=True):
        print(f'{job.job_id} {cell.title}')
    print(f'{len(jobs)} cells submitted to {args.cluster}; their logs are in {places.runs / JOBS}')
    return UNFINISHED if jobs else 0


def show(cells: Sequence[Cell], places: Places) -> None:
    """Every cell with its state, its cost, that of all up to it which are not done, and its command."""
    print(f'Seconds of training at {" or ".join(f"{r:,}" for r in RATES)} images/s, starts and tests aside:')
    sums = (0.0,) * len(RATES)
    for cell in cells:
        state, cost = places.state(cell), seconds(cell)
        if not isinstance(cost, str):
            sums = sums if state == 'done' else tuple(a + b for a, b in zip(sums, cost, strict=True))
            cost = f'{_shown(cost)}; up to here {_shown(sums)}'
        print(f'{state:7} {cell.title}')
        print(f'        {cost}')
        print(f'        {shlex.join(["python", *cell.arguments(places.work_dir(cell))])}')
    done = sum(places.state(c) == 'done' for c in cells)
    print(f'{done} of {len(cells)} cells done')


def seconds(cell: Cell) -> tuple[float, ...] | str:
    """What a cell takes at each of the rates, or why that cannot be told."""
    if cell.minutes == REST:
        return 'the rest'
    if cell.minutes is not None:
        return (60 * cell.minutes,) * len(RATES)
    found = _images(cell.config, json.dumps(cell.options))
    return found if isinstance(found, str) else tuple(found / rate for rate in RATES)


@functools.cache
def _images(config: str, options: str) -> int | str:
    """Images that a run trains on, or a question mark, with the error where the config does not take the options."""
    from ..mm.config import read_config
    from ..mm.engine.console import quiet_imports

    quiet_imports()
    try:
        return images(read_config(config, json.loads(options))) or '?'
    except Exception as error:
        return f'? ({sentence(error)})'


def _shown(cost: tuple[float, ...]) -> str:
    return f'{" or ".join(dict.fromkeys(f"{round(s, 1):g}" for s in cost))} s'
