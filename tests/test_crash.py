"""Runs that are killed, while they write a file too, end as the run that was not; damaged files are passed over."""

import json
import os
import random
import resource
import shlex
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('mmpretrain')
if not hasattr(os, 'fork'):
    pytest.skip('a run is killed in a fork', allow_module_level=True)

import faults
import runs
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler, get_worker_info

from ranet_mm import files
from ranet_mm.cli import verify
from ranet_mm.mm.data import drawn
from ranet_mm.mm.data.load_image import LoadImage
from ranet_mm.mm.engine import workdir
from ranet_mm.mm.engine.loops import remaining

IMAGES = 'image folder, 2 data workers, augmentation'


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """A config with augmentation in data workers, the folder of its runs, and what the run comes to unharmed."""
    runs.imported()
    folder = tmp_path_factory.mktemp('whole')
    config = runs.config(IMAGES, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert sitting(folder, config, 'whole') == (0, '')
    return config, folder, runs.final(folder / 'whole')


def sitting(folder, config, work_dir, *options, kill_at=None):
    """Train in a fork; returns its exit code and what it says to standard error."""
    log = Path('log')
    log.unlink(missing_ok=True)
    argv = [config, '--work-dir', str(folder / work_dir), *options]
    (code,) = runs.end(runs.begin(argv, runs.Shared(), 1, kill_at))
    return code, '\n'.join(line for line in log.read_text().splitlines() if line.startswith(('error', 'warning')))


@pytest.mark.slow('a run that is killed twice')
def test_killed_while_it_writes_files(whole):
    """The first kill is amid a checkpoint, the second after one became the file and before `last_checkpoint` did."""
    config, folder, expected = whole
    codes = [sitting(folder, config, 'killed', '--resume', kill_at=event)[0] for event in (23, 30)]
    assert codes == [-signal.SIGKILL] * 2
    assert sitting(folder, config, 'killed', '--resume')[0] == 0
    assert runs.differing(runs.final(folder / 'killed'), expected) == []


def test_killed_behind_the_last_step(whole):
    """While it writes its record: nothing is left to train, and nothing of the half file stays."""
    config, folder, expected = whole
    late = shutil.copytree(folder / 'whole', folder / 'late')
    (late / f'{files.DRAFT}1-record.json').write_text('{"half')
    (late / 'record.json').unlink()
    assert sitting(folder, config, 'late', '--resume') == (0, '')
    assert runs.differing(runs.final(late), expected) == []


def test_a_full_disk_ends_a_run_in_one_sentence(whole, monkeypatch):
    """The checkpoint before the one that does not fit is there still, though one is to be kept."""
    config, folder, expected = whole
    options = ['--cfg-options', 'default_hooks.checkpoint.max_keep_ckpts=1']
    work, limit = runs.work, (folder / 'whole/epoch_3.pth').stat().st_size // 2

    def limited(*args):
        Path.write_bytes, original = lambda path, data: (shrink(path), original(path, data))[1], Path.write_bytes
        return work(*args)

    def shrink(path):
        if path.name.endswith('-epoch_2.pth'):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    monkeypatch.setattr(runs, 'work', limited)
    code, said = sitting(folder, config, 'full', *options)
    assert code == 1
    assert said.startswith('error: file ')
    assert "/full/epoch_2.pth' cannot be written, File too large: nothing is left of it (--debug" in said
    assert '\n' not in said
    assert [path.name for path in (folder / 'full').glob('*epoch_[12].pth') if 'best' not in path.name] == [
        'epoch_1.pth'
    ]
    monkeypatch.setattr(runs, 'work', work)
    assert sitting(folder, config, 'full', '--resume', *options)[0] == 0
    assert runs.differing(runs.final(folder / 'full'), expected) == ['file epoch_2.pth']
    assert [path.name for path in (folder / 'full').glob('epoch_*')] == ['epoch_3.pth']


def test_a_data_worker_that_the_system_ends_is_told(whole, monkeypatch):
    config, folder, _ = whole

    def die(self, results, original=LoadImage.transform):
        if get_worker_info() and results['sample_idx'] == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, results)

    monkeypatch.setattr(LoadImage, 'transform', die)
    code, said = sitting(folder, config, 'starved')
    assert code == 1
    assert said.startswith('error: a data worker was ended by the system (DataLoader worker (pid')
    assert said.endswith('--resume goes on from the latest checkpoint (--debug shows where)')


@pytest.mark.slow('a run of each')
@pytest.mark.parametrize('workers', [0, 1])
def test_any_number_of_data_workers_gives_the_same_weights(whole, workers):
    config, folder, expected = whole
    options = [f'train_dataloader.num_workers={workers}', f'val_dataloader.num_workers={workers}']
    assert sitting(folder, config, f'of{workers}', '--cfg-options', *options) == (0, '')
    assert runs.differing(runs.final(folder / f'of{workers}'), expected) == []


@pytest.mark.slow('eight runs, each killed six times')
@pytest.mark.parametrize('way', runs.WAYS)
def test_six_kills(way, tmp_path):
    runs.imported()
    row = faults.torment(way, 6, tmp_path, random.Random(way))
    assert (row['times'], row['unequal']) == (6, [])


@pytest.mark.slow('evaluates the metrics again')
def test_a_record_is_verified(whole, capsys, tmp_path):
    config, folder, _ = whole
    argv = [str(folder / 'whole/record.json'), '--config', config]
    assert verify.main(argv) == 0
    out = capsys.readouterr().out
    assert out.count(' right ') == 9
    record = json.loads((folder / 'whole/record.json').read_text())
    record['test']['accuracy/top1'] += 1
    record['data']['train']['sha256'] = 64 * '0'
    record['versions']['torch'] = '1.0'
    changed = tmp_path / 'record.json'
    changed.write_text(json.dumps(record))
    assert verify.main([str(changed), '--config', config, '--work-dir', str(folder / 'whole')]) == 1
    differing = [line.split('  ')[0] for line in capsys.readouterr().out.splitlines() if ' DIFFERS ' in line]
    assert differing == ['versions', 'train data', 'test accuracy/top1']


@pytest.mark.parametrize(
    'option', ['model.type=os.abort', 'custom_imports.imports=x', 'a=__import__("os").abort()', "b=['(x)']"]
)
def test_a_record_names_nothing_to_run(option):
    command = shlex.join(['ranet', 'train', 'x', '--cfg-options', option])
    record = dict(config='configs/ranet/att56_digits.py', command=command)
    with pytest.raises(ValueError, match='is not taken from a record: what it names would be run'):
        verify.settings(record, None)


class TestNewest:
    """Which of a work dir's checkpoints `--resume` takes."""

    @pytest.fixture
    def save(self, tmp_path):
        def save(name, iteration, sitting='first'):
            meta = dict(iter=iteration, experiment_name=sitting)
            torch.save(dict(meta=meta, state_dict={'a': torch.ones(9)}, optimizer={}, message_hub={}), tmp_path / name)
            return tmp_path / name

        files.write_json(tmp_path / 'run.json', dict(fingerprint='', sittings=dict(first=0)))
        return save

    def test_it_is_the_one_of_the_most_iterations_whatever_the_pointer_says(self, save, tmp_path):
        save('epoch_9.pth', 90)
        last = save('interrupted.pth', 105)
        old = save('epoch_10.pth', 100)
        for said in (str(old), 'epoch_77.pth', '\0', ''):
            (tmp_path / 'last_checkpoint').write_text(said)
            assert workdir.newest(tmp_path) == last
        (tmp_path / 'last_checkpoint').write_bytes(b'\xff\xfe')
        assert workdir.newest(tmp_path) == last

    @pytest.mark.parametrize('size', [0, 300, -30])
    def test_damaged_ones_are_passed_over_and_named(self, save, tmp_path, size, capsys):
        whole, cut = save('epoch_9.pth', 90), save('epoch_10.pth', 100)
        os.truncate(cut, size % cut.stat().st_size)
        assert workdir.newest(tmp_path) == whole
        said = f"warning: epoch_10.pth in '{tmp_path}' is damaged and passed over: going on from epoch_9.pth\n"
        assert capsys.readouterr().err == said
        os.truncate(whole, 100)
        with pytest.raises(ValueError, match=r"epoch_10.pth, epoch_9.pth in '.*' are damaged, and there is no other"):
            workdir.newest(tmp_path)

    def test_those_of_another_run_are_none(self, save, tmp_path):
        """Of one before in the same folder, and of a sitting whose later part was given up."""
        save('epoch_20.pth', 200, 'before')
        assert workdir.newest(tmp_path) is None
        mine = save('epoch_3.pth', 30)
        save('epoch_8.pth', 80)
        files.write_json(tmp_path / 'run.json', dict(fingerprint='', sittings=dict(first=0, second=40)))
        assert workdir.newest(tmp_path) == mine

    def test_a_run_of_an_earlier_version_goes_by_its_pointer(self, save, tmp_path):
        files.write_json(tmp_path / 'run.json', dict(fingerprint=''))
        save('epoch_20.pth', 200, 'before')
        named = save('epoch_3.pth', 30)
        (tmp_path / 'last_checkpoint').write_text('/elsewhere/epoch_3.pth')
        assert workdir.newest(tmp_path) == named
        (tmp_path / 'run.json').write_text('{"half')
        assert workdir.newest(tmp_path) == named


class Draws(torch.utils.data.Dataset):
    """What a sample draws from each generator, one of its own among them."""

    def __init__(self):
        self.pipeline = [dict(own=np.random.default_rng(0), more=random.Random(0))]

    def __len__(self):
        return 8

    def __getitem__(self, index):
        own = self.pipeline[0]
        found = random.random(), np.random.rand(), torch.rand(()).item(), own['own'].random(), own['more'].random()
        return torch.tensor([index, *found], dtype=torch.double)


class TestDraws:
    def epoch(self, workers=0, done=0, epoch=0, order=range(8), seed=0):
        batches = BatchSampler(list(order), 3, drop_last=False)
        loader = drawn.prepare(DataLoader(Draws(), batch_sampler=batches, num_workers=workers))
        return torch.cat(list(remaining(loader, done, seed, epoch)))

    def test_they_are_the_same_in_any_worker_and_from_any_batch_on(self):
        expected = self.epoch()
        assert torch.equal(self.epoch(workers=2), expected)
        assert torch.equal(self.epoch(workers=2, done=1), expected[3:])
        assert torch.equal(self.epoch(), expected)

    def test_they_are_others_for_each_sample_epoch_and_seed(self):
        """A sample that comes twice in an epoch too, as where a sampler repeats augmentation."""
        values = torch.cat([self.epoch(), self.epoch(epoch=1), self.epoch(seed=1), self.epoch(order=[5] * 8, epoch=2)])
        assert len(values[:, 1:].unique()) == 32 * 5

    def test_the_process_itself_draws_on(self):
        torch.manual_seed(3), random.seed(3), np.random.seed(3)
        expected = torch.rand(()), random.random(), np.random.rand()
        torch.manual_seed(3), random.seed(3), np.random.seed(3)
        self.epoch()
        assert (torch.rand(()), random.random(), np.random.rand()) == expected

    def test_a_loader_that_nobody_prepared_is_as_before(self):
        found = torch.cat(list(remaining(DataLoader(Draws(), 3, sampler=SequentialSampler(range(8))), 1)))
        assert found[:, 0].tolist() == [3, 4, 5, 6, 7]
