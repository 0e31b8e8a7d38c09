"""Sweeps on a cluster: each cell is a job, which goes on after its time is over, and publishes its record."""

import dataclasses
import math
import os
import pickle
import re
from pathlib import Path

import pytest
from test_sweep import FAKE, acts, fake, only_record, recorded, write
from test_tools import refused

from ranet_mm.cli import sweep
from ranet_mm.lab import cluster, grid
from ranet_mm.lab.pool import Places

__all__ = ['fake']  # a fixture
PLACES = Places(Path('work_dirs/sweeps'), Path('results'))


def jobs(path):
    return [cluster.CellJob(cell, PLACES, 2, 60.0) for cell in grid.collect([path])]


def test_a_job_publishes_its_record_once():
    (job,) = jobs(write(options=dict(a=1)))
    job()
    assert (only_record()['sweep'], only_record()['threads']) == (dict(options=dict(a=1), jobs=1), '2')
    Path('tools/train.py').unlink()  # nothing is left to run
    job()


def test_a_job_that_fails_says_why():
    (job,) = jobs(acts('fail'))
    with pytest.raises(RuntimeError, match=r'study/grid act=fail seed=0: error: this cell fails; see work_dirs/'):
        job()
    assert not recorded()


def test_a_job_can_be_sent_away_and_begun_again():
    (job,) = jobs(write())
    job()
    again = pickle.loads(pickle.dumps(dataclasses.replace(job)))
    assert (again.cell, again.places, again.run) == (job.cell, job.places, None)


def test_what_is_asked_for(monkeypatch, capsys):
    asked = {}

    def submit(jobs, folder, name, options):
        asked.update(options, cells=[(j.cell.title, j.cell.jobs, j.threads, j.minutes) for j in jobs])
        return [type('Job', (), dict(job_id=f'7_{i}')) for i in range(len(jobs))]

    monkeypatch.setattr(sweep, 'submit', submit)
    path = write(seeds=[0, 1, 2], jobs=4)
    sweep.main([path, '--only', 'seed=1'])
    argv = [path, '--cluster', 'slurm', '--partition', 'gpu', '--threads', '5', '--cluster-options', 'gpus_per_node=1']
    capsys.readouterr()
    assert sweep.main(argv) == 3
    assert asked == dict(
        name='ranet', timeout_min=24 * 60, cpus_per_task=5, slurm_partition='gpu', gpus_per_node=1,
        cells=[(f'study/grid seed={i}', 1, 5, 24 * 60) for i in (0, 2)],
    )  # fmt: skip
    assert capsys.readouterr().out.splitlines() == [
        '7_0 study/grid seed=0', '7_1 study/grid seed=2',
        '2 cells submitted to slurm; their logs are in work_dirs/sweeps/jobs',
    ]  # fmt: skip
    sweep.main([*argv, '--max-minutes', '7.5'])
    assert (asked['timeout_min'], asked['cells'][0][-1]) == (math.ceil(7.5), 7.5)


def test_without_submitit(monkeypatch, capsys):
    monkeypatch.setattr(cluster, 'find_spec', lambda name: None)
    err = refused(capsys, sweep, write(), '--cluster', 'slurm')
    assert err.startswith("error: --cluster needs submitit, which is not installed: pip install 'ranet_mm[cluster]'")


def test_bad_options(capsys):
    pytest.importorskip('submitit', reason='submitit is not installed: pip install submitit')
    assert "invalid choice: 'moon'" in refused(capsys, sweep, write(), '--cluster', 'moon')
    err = refused(capsys, sweep, write(), '--cluster', 'local', '--cluster-options', 'slurm_colour=red')
    assert err.startswith("error: --cluster-options are not allowed: Unknown argument 'colour' for executor 'slurm'")
    assert 'must have the form KEY=VALUE' in refused(
        capsys, sweep, write(), '--cluster', 'local', '--cluster-options', 'gpus'
    )


def test_slurm_gets_one_array(monkeypatch, capsys):
    pytest.importorskip('submitit', reason='submitit is not installed: pip install submitit')
    for name, line in dict(srun='exit 1', sbatch='cp "$1" sent.sh; echo Submitted batch job 12').items():
        path = Path('bin', name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\n{line}\n')
        path.chmod(0o755)
    monkeypatch.setenv('PATH', str(Path('bin').resolve()), prepend=os.pathsep)
    argv = [write(seeds=[0, 1]), '--cluster', 'slurm', '--partition', 'gpu', '--max-minutes', '7.5']
    assert sweep.main([*argv, '--cluster-options', 'gpus_per_node=1']) == 3
    assert re.findall(r'^(\S+) study', capsys.readouterr().out, re.M) == ['12_0', '12_1']
    asked = dict(re.findall(r'^#SBATCH --([\w-]+)=(.*)$', Path('sent.sh').read_text(), re.M))
    expected = {'array': '0-1%2', 'partition': 'gpu', 'time': '8', 'gpus-per-node': '1', 'signal': 'USR2@90'}
    assert {name: asked.get(name) for name in expected} == expected
    assert cluster.GRACE < 90


@pytest.mark.slow('a job in processes of its own, waited for')
def test_a_job_whose_time_is_over_goes_on_from_its_checkpoint(monkeypatch):
    submitit = pytest.importorskip('submitit', reason='submitit is not installed: pip install submitit')
    assert 'os.getppid(), signal.SIGTERM' in FAKE
    Path('tools/train.py').write_text(FAKE.replace('os.getppid(), signal.SIGTERM', 'os.getppid(), signal.SIGUSR2'))
    sent = cluster.submit(jobs(acts('stop', 'fail')), Path('jobs'), 'local', dict(timeout_min=5))
    stopped, failed = sent
    with pytest.raises(submitit.core.utils.FailedJobError, match='this cell fails'):
        failed.result()
    stopped.result()
    assert only_record()['resumed']
