"""Readers fed with files that were changed at random: what they may raise, how long they may take, what they may hold.

    python tests/fuzzing.py [READER...] --cases 100000 [--record results/reliability/fuzzing.json]
    python tests/fuzzing.py READER --cases 100000 --coverage

Files are changed blindly; with `--coverage` atheris (pip install atheris) follows the code that they reach.
A case that fails is kept as `fuzz-READER-SEED-CASE`; put it into `tests/test_fuzz.py`, where it is read again.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from ranet_mm import files, images, weights
from ranet_mm.lab import grid, predictions, records
from ranet_mm.timm.residual_attention import RANet
from ranet_mm.weights import description, read

PROMISED = (ValueError, FileNotFoundError)  # one sentence each
SECONDS, MEMORY = 5, 2**31
WORDS = (
    b'\0',
    b'\xff',
    b'\x7f\xff\xff\xff',
    b'\xff' * 8,
    b'../',
    b'cbuiltins\neval\n',
    b'null',
    b'[' * 99,
    b'1e999',
    b'-1',
)


def small() -> tuple[dict[str, torch.Tensor], dict]:
    torch.manual_seed(0)
    fields = dict(
        modules=(1,), widths=(8,), strides=(2,), mask_pools=(1,), post_width=8, post_units=1, stem_width=8, img_size=32
    )
    args = {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}
    images = dict(mean=[0.5] * 3, std=[0.5] * 3, input_size=[3, 32, 32])
    about = dict(
        architecture='attention56_cifar', model_args=args,
        pretrained_cfg=dict(num_classes=2, label_names=['a', 'b'], **images),
        pipeline=[dict(type='LoadImage'), dict(type='PackInputs')], exclusive=True,
        data_preprocessor=dict(mean=[1.0] * 3, std=[2.0] * 3, to_rgb=False),
    )  # fmt: skip
    return RANet('attention56_cifar', num_classes=2, **fields).state_dict(), about


def saved(found: object, **options: object) -> bytes:
    stream = BytesIO()
    torch.save(found, stream, **options)
    return stream.getvalue()


def pictures() -> list[bytes]:
    pixels, found = np.arange(16 * 12 * 3, dtype=np.uint8).reshape(16, 12, 3), []
    for kind in ('PNG', 'JPEG', 'GIF', 'BMP', 'TIFF', 'WEBP', 'PPM', 'ICO', 'TGA'):
        stream = BytesIO()
        Image.fromarray(pixels).save(stream, kind)
        found.append(stream.getvalue())
    for mode in ('I;16', 'RGBA', 'P', '1', 'LA'):
        stream = BytesIO()
        Image.fromarray(pixels).convert('L').convert(mode).save(stream, 'PNG')
        found.append(stream.getvalue())
    return found


def checkpoints() -> list[bytes]:
    state, about = small()
    whole = dict(state_dict=state, meta=dict(ranet_mm=about, epoch=1), optimizer=dict(state={}, param_groups=[]))
    config = "model = dict(backbone=dict(type='ranet_mm.ResidualAttentionNet', arch='attention56', p=2))\n"
    return [
        saved(whole), saved(whole, _use_new_zipfile_serialization=False),
        saved(dict(state_dict=state, meta=dict(cfg=config, dataset_meta=dict(classes=['a', 'b'])))),
        saved(dict(state_dict=state, arch='attention56', args=argparse.Namespace(mean=[0.5], model_kwargs=dict(p=2)))),
    ]  # fmt: skip


def read_checkpoint(path: Path) -> None:
    found = read.read(path)
    state, _ = read.weights_of(found)
    about = description.of_checkpoint(found, state)
    description.network_of(found), description.images_of(found), description.classes_of(found)
    if about['architecture']:
        description.build(about, state)


def read_record(path: Path) -> None:
    records.score(records.read(path))


def read_index(path: Path) -> None:
    weights.index(path.parent)


RECORD = dict(
    config='configs/x.py',
    seed=0,
    settings=dict(optim_wrapper={}),
    curve=[dict(epoch=1, loss=1.0)],
    versions={},
    test={'accuracy/top1': 90.0},
)
INDEX = {'a.b': dict(file='a.safetensors', sha256='0' * 64, num_classes=2, mean=[0.5] * 3)}
SWEEP = 'config: x.py\nseeds: [0, 1]\noptions: {a.b: 1}\naxes: {x: {y: {c.d: 2}, z: }}\nminutes: 3\n'

# Name of a reader: what reads a path, under which name the file must be, and what files begin as.
READERS: dict[str, tuple[Callable[[Path], object], str, Callable[[], list[bytes]]]] = {
    'checkpoint': (read_checkpoint, 'file.pth', checkpoints),
    'safetensors': (
        read_checkpoint, 'file.safetensors',
        lambda: [save(small()[0], dict(ranet_mm=json.dumps(small()[1])))]),
    'image': (images.read, 'file', pictures),
    'index': (read_index, 'index.json', lambda: [json.dumps(INDEX).encode()]),
    'record': (read_record, 'record.json', lambda: [json.dumps(RECORD).encode()]),
    'sweep': (grid.load, 'sweep.yml', lambda: [SWEEP.encode()]),
    'predictions': (
        lambda path: predictions.read(str(path)), 'scores.pkl',
        lambda: [__import__('pickle').dumps([dict(pred_score=torch.ones(2), gt_label=torch.ones(1))])]),
}  # fmt: skip


def changed(data: bytes, draw: random.Random) -> bytes:
    """The bytes with a few changes: values, words, parts left out, doubled or moved; most near the beginning or end."""
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        place = draw.randrange(max(1, len(found)))
        if draw.random() < 0.5:
            place = (
                min(place, draw.randrange(1, 2048)) if draw.random() < 0.5 else max(0, len(found) - 1 - place % 2048)
            )
        length = draw.choice((1, 1, 2, 4, 8, 64, 512))
        kind = draw.randrange(6)
        if kind < 2 and found:
            found[place % len(found)] = draw.randrange(256)
        elif kind == 2:
            word = draw.choice(WORDS)
            found[place : place + len(word)] = word
        elif kind == 3:
            del found[place : place + length]
        elif kind == 4:
            found[place:place] = found[place : place + length]
        else:
            found[place:] = b'' if draw.random() < 0.2 else found[place:]
    return bytes(found)


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Raises `TimeoutError` in what takes longer."""

    def stop(number: int, frame: object) -> None:
        raise TimeoutError(f'it takes more than {seconds} s')

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def peak() -> int:
    """Bytes that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def check(name: str, data: bytes, folder: Path) -> bool:
    """Read a file; True where it is refused.

    Raises:
        AssertionError: It was refused otherwise than is promised, or took too long or too much.
    """
    reader, file, _ = READERS[name]
    path = folder / file
    path.write_bytes(data)
    before = peak()
    try:
        with within(SECONDS):
            reader(path)
    except PROMISED:
        return True
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise AssertionError(f'{type(error).__name__}: {error}') from error
    finally:
        held = peak()
        assert held < MEMORY or held == before, f'{held:,} bytes are held'  # what was held before is not the reader's
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('readers', nargs='*', metavar='READER', help=f'{", ".join(READERS)}; all where left out')
    parser.add_argument('--cases', type=int, default=1000, help='of each reader')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--coverage', action='store_true', help='of one reader, by atheris')
    parser.add_argument('--record', type=Path, help='write the rows to this file')
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        if args.coverage:
            return followed(args, READERS[args.readers[0]][2](), Path(folder))
        for name in args.readers or READERS:
            rows.append(fed(name, args.cases, args.seed, Path(folder)))
            print(rows[-1], flush=True)
    if args.record:
        files.write_json(args.record, dict(command=' '.join(['python', *sys.argv]), rows=rows))
    return int(any(row['failed'] for row in rows))


def fed(name: str, cases: int, seed: int, folder: Path) -> dict[str, object]:
    """Feed a reader; returns a row of the table. Each kind of failure is told and kept once."""
    seeds, refused, failed = READERS[name][2](), 0, Counter()
    for case in range(cases):
        data = changed(seeds[case % len(seeds)], random.Random(f'{seed}/{case}'))
        try:
            refused += check(name, data, folder)
        except AssertionError as error:
            if str(error)[:60] not in failed:
                Path(f'fuzz-{name}-{seed}-{case}').write_bytes(data)
                print(f'case {case}: {error}', flush=True)
            failed[str(error)[:60]] += 1
    return dict(reader=name, cases=cases, refused=refused, failed=failed.total(), mib=peak() >> 20)


def followed(args: argparse.Namespace, seeds: list[bytes], folder: Path) -> int:
    """The same by atheris, which ends the process itself."""
    import atheris

    atheris.instrument_all()
    corpus = folder / 'corpus'
    corpus.mkdir()
    for number, data in enumerate(seeds):
        (corpus / str(number)).write_bytes(data)
    options = [f'-runs={args.cases}', f'-seed={args.seed + 1}', f'-timeout={SECONDS}', '-rss_limit_mb=2048']
    atheris.Setup([sys.argv[0], *options, str(corpus)], lambda data: check(args.readers[0], data, folder) and None)
    atheris.Fuzz()
    return 0


if __name__ == '__main__':
    sys.exit(main())
