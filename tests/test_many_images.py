"""`ranet predict` over more images than one looks at: broken ones, a run that is cut off, and memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from test_tools import refused

pytest.importorskip('timm')
pytest.importorskip('mmpretrain')

from ranet_mm.cli import predict

MANY = int(os.environ.get('RANET_MANY_IMAGES', 1000))
FLAT = 50  # MiB
# Runs the program while a thread looks at its memory; the last line of what it prints is what it was after each second.
WATCHED = """
import json, sys, threading, time
import ranet
size, stop = [], threading.Event()
def watch():
    while not stop.wait(0.2):
        pages = int(open('/proc/self/statm').read().split()[1])
        lines = sum(1 for _ in open('found.jsonl', 'rb')) if __import__('os').path.exists('found.jsonl') else 0
        size.append((lines, pages * 4096 / 2**20))
threading.Thread(target=watch, daemon=True).start()
code = ranet.main(['predict', 'many', '--json', 'found.jsonl', '--topk', '1'])
stop.set()
print(json.dumps([code, size]))
"""


def make(count, broken=100):
    """So many images, each `broken`th cut short."""
    Path('many').mkdir()
    generator = np.random.default_rng(0)
    for number in range(count):
        path = Path(f'many/{number}.png')
        Image.fromarray(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
        if number % broken == broken - 1:
            path.write_bytes(path.read_bytes()[:500])
    return [f'many/{number}.png' for number in range(count) if number % broken != broken - 1]


def lines():
    return [json.loads(line) for line in Path('found.jsonl').read_text().splitlines()]


def test_lines_are_what_the_whole_file_says(capsys):
    whole = make(12, broken=6)
    assert predict.main(['many', '--json', 'found.json', '--batch-size', '4']) == 1
    err = refused(capsys, predict, 'many', '--json', 'found.jsonl', '--batch-size', '4')
    assert "image 'many/5.png' cannot be read whole" in err and "image 'many/11.png' cannot be read whole" in err
    assert err.endswith('; the other 10 of 12 images are predicted (--debug shows where)\n')
    found = json.loads(Path('found.json').read_text())
    assert [dict(weights=found['weights'], **image) for image in found['images']] == lines()
    assert [image['image'] for image in lines()] == whole
    assert not [*Path().glob('.part-*')]


@pytest.mark.slow('processes that are killed')
@pytest.mark.parametrize('left', [0, 1, 200])
def test_a_run_that_was_cut_off_goes_on(left, capsys):
    make(8, broken=9)
    assert predict.main(['many', '--json', 'found.jsonl', '--batch-size', '2']) == 0
    uncut, text = lines(), Path('found.jsonl').read_bytes()
    ends = [i + 1 for i, byte in enumerate(text) if byte == ord('\n')]
    Path('found.jsonl').write_bytes(text[: ends[2] + left])
    capsys.readouterr()
    assert predict.main(['many', '--json', 'found.jsonl', '--batch-size', '2']) == 0
    assert 'many/2.png' not in capsys.readouterr().out
    assert [line['image'] for line in lines()] == [line['image'] for line in uncut]
    for again, before in zip(lines(), uncut, strict=True):
        pairs = [{p['label']: p['probability'] for p in line['predictions']} for line in (again, before)]
        assert pairs[0] == pytest.approx(pairs[1], abs=1e-6)
    assert predict.main(['many', '--json', 'found.jsonl']) == 0  # nothing is left
    assert len(lines()) == 8


@pytest.mark.parametrize(
    ('content', 'says'),
    [
        (b'notes\n', "line 1 of 'found.jsonl' is no prediction"),
        (b'[]\n', "line 1 of 'found.jsonl' is no prediction"),
        (b'{"image": "a.png", "weights": "x", "predictions": []}\n', "line 1 of 'found.jsonl' is of weights 'x'"),
    ],
)
def test_another_file_is_left_as_it_is(content, says, capsys):
    make(1)
    Path('found.jsonl').write_bytes(content + b'more')
    assert says in refused(capsys, predict, 'many', '--json', 'found.jsonl')
    assert Path('found.jsonl').read_bytes() == content + b'more'


@pytest.mark.slow('a thousand images; RANET_MANY_IMAGES=10000 looks at as many')
@pytest.mark.skipif(not Path('/proc/self/statm').exists(), reason='memory is read from /proc')
def test_memory_stays(tmp_path):
    whole = make(MANY)
    command = [sys.executable, '-c', WATCHED]
    done = subprocess.run(
        command, env=os.environ | dict(PYTHONPATH=str(ROOT)), capture_output=True, text=True, check=True
    )
    code, sizes = json.loads(done.stdout.splitlines()[-1])
    assert code == 1
    assert done.stderr.count(' cannot be read whole: ') == MANY // 100
    assert [line['image'] for line in lines()] == whole
    later = [size for count, size in sizes if count >= 500]
    assert later and max(later) - later[0] < FLAT
