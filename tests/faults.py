"""What happens to runs, again and again, each compared with the run that was left alone.

    python tests/faults.py --kills 100 --others 20 --record results/reliability/faults.json

Kills are shared out over the paths of `runs.WAYS`; every other fault happens on the first of them. Each comes at a
random moment of a sitting, which is a fork of this process and takes a second or two; `--resume` then goes on.
"""

import argparse
import os
import random
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch
from runs import WAYS, Shared, begin, config, differing, end, ended, final, imported

from ranet_mm import files

KILL, WRITING = 'SIGKILL', 'SIGKILL while it writes a file'
SMALL_FILE = 20_000  # bytes; a checkpoint has more


def send(number):
    return lambda child, work_dir, generator: os.kill(child, number)


def kill(child, *_):
    os.killpg(child, signal.SIGKILL)


def kill_worker(child, work_dir, generator):
    """Of data: one that there is just then."""
    workers = Path(f'/proc/{child}/task/{child}/children').read_text().split()
    if workers:
        os.kill(int(generator.choice(workers)), signal.SIGKILL)
    return bool(workers)


def fill_disk(child, *_):
    resource.prlimit(child, resource.RLIMIT_FSIZE, (SMALL_FILE, SMALL_FILE))


def damaged(change):
    """Kill, and change the newest checkpoint, once there is one before it."""

    def happen(child, work_dir, generator):
        found = sorted(work_dir.glob('epoch_*.pth'), key=lambda path: path.stat().st_mtime_ns)
        if len(found) < 2:
            return False
        kill(child)
        data = bytearray(found[-1].read_bytes())
        found[-1].write_bytes(change(data, generator.randrange(len(data))))
        return True

    return happen


def flipped(data, place):
    data[place] ^= 1 << place % 8
    return data


# What happens to the process of a run; False where it could not just then.
FAULTS = {
    KILL: kill,
    WRITING: None,
    'SIGTERM': send(signal.SIGTERM),
    'Ctrl-C (SIGINT)': send(signal.SIGINT),
    'a data worker is killed': kill_worker,
    'the disk is full': fill_disk,
    'SIGKILL, and the newest checkpoint is cut short': damaged(lambda data, place: data[:place]),
    'SIGKILL, and a bit of the newest checkpoint changes': damaged(flipped),
}


def torment(way, times, folder, generator, fault=KILL):
    """Let a fault happen to runs of one way so many times; returns a row of the table."""
    file, processes = config(way, folder), WAYS[way][1]
    shared, started, stem = Shared(), time.perf_counter(), f'{Path(file).stem}_{[*FAULTS].index(fault)}'
    whole = folder / f'{stem}_whole'
    if any(end(begin([file, '--work-dir', str(whole)], shared, processes, kill_at=-1 if fault == WRITING else None))):
        raise RuntimeError(f'the run that nothing happens to has failed: {way}, see {folder}/log')
    takes, expected, events = time.perf_counter() - started, final(whole), shared[2]
    row = dict(fault=fault, path=way, times=0, runs=0, lost=0, passed=0, unequal=[])
    while row['times'] < times:
        row['runs'] += 1
        work_dir = folder / f'{stem}_{row["runs"]}'
        reached = 0
        while True:
            Path('log').write_text('')
            due = row['times'] < times
            kill_at = generator.randint(1, events) if due and fault == WRITING else None
            children = begin([file, '--work-dir', str(work_dir), '--resume'], shared, processes, kill_at)
            happened = due and fault != WRITING and happens(fault, children, work_dir, takes, generator)
            codes = end(children, signal.SIGKILL if happened and fault == KILL else None)
            happened |= due and fault == WRITING and codes[0] == -signal.SIGKILL
            row['passed'] += Path('log').read_text(errors='replace').count('passed over')
            if shared[0] >= 0:
                row['lost'] += max(0, reached - shared[0])
                reached = shared[1]
            row['times'] += happened
            if not happened:
                break
        if any(codes):
            row['unequal'].append(f'exit {codes}: ' + Path('log').read_text(errors='replace')[-300:])
            break
        row['unequal'] += differing(final(work_dir), expected)
    return row


def happens(fault, children, work_dir, takes, generator):
    """Wait for a moment; False where the run has ended before."""
    until = time.monotonic() + generator.uniform(0.1, 1.1) * takes
    while time.monotonic() < until and not ended(children[0]):
        time.sleep(0.002)
    return not ended(children[0]) and FAULTS[fault](children[0], work_dir, generator) is not False


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--kills', type=int, default=16, help='in all, shared out over the paths')
    parser.add_argument('--others', type=int, default=2, help='of each other fault')
    parser.add_argument('--only', default='', help='faults with this in their name')
    parser.add_argument('--seed', type=int, default=0, help='of the moments')
    parser.add_argument('--record', type=Path, help='write the rows to this file')
    args = parser.parse_args()
    torch.set_num_threads(1)
    imported()
    record = args.record and args.record.absolute()
    shares = [args.kills // len(WAYS) + (place < args.kills % len(WAYS)) for place in range(len(WAYS))]
    cases = [(way, share, KILL) for way, share in zip(WAYS, shares, strict=True)]
    cases += [(next(iter(WAYS)), args.others, fault) for fault in FAULTS if fault != KILL]
    rows, generator = [], random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for way, times, fault in cases:
            if times and args.only in fault:
                rows.append(torment(way, times, Path(folder), generator, fault))
                print(rows[-1], flush=True)
        os.chdir('/')
    if record:
        files.write_json(record, dict(command=' '.join(['python', *sys.argv]), rows=rows))
    return int(any(row['unequal'] for row in rows))


if __name__ == '__main__':
    sys.exit(main())
