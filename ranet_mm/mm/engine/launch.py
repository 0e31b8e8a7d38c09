"""Several processes: where MMEngine's own start needs a GPU or does not look for what is missing."""

from __future__ import annotations

import os
import subprocess
from datetime import timedelta

import torch
from mmengine.config import Config

# Where each launcher says what torch reads as RANK, WORLD_SIZE and LOCAL_RANK.
LAUNCHERS = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}
STARTERS = {'pytorch': 'torchrun', 'slurm': 'srun', 'mpi': 'mpirun'}


def prepare(cfg: Config) -> None:
    """Read the launcher's variables; without a GPU start gloo, and wrap the model such that it asks for none.

    Raises:
        ValueError: The launcher's variables are not set, as the program was not started by it.
    """
    if cfg.launcher == 'none':
        return
    _read_environment(cfg.launcher)
    if torch.cuda.is_available():
        return
    dist_cfg = cfg.setdefault('env_cfg', {}).setdefault('dist_cfg', {})
    dist_cfg['backend'] = 'gloo'
    if 'strategy' not in cfg:
        unused = cfg.get('find_unused_parameters', False)
        wrapper = dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)
        cfg.setdefault('model_wrapper_cfg', dict(wrapper, find_unused_parameters=unused))
    if not torch.distributed.is_initialized():
        timeout = dist_cfg.get('timeout')
        torch.distributed.init_process_group('gloo', timeout=timedelta(seconds=timeout) if timeout else None)


def leave() -> None:
    """End gloo's group, at a point where no process waits for another.

    The threads of a group that is left to the interpreter's exit now and then abort the process, and with it a run
    that had succeeded (pytorch/pytorch#190489). They end with the last that holds the group: the model's wrapper
    does, which the programs have collected before the exit.
    """
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized() and distributed.get_backend() == 'gloo':
        distributed.destroy_process_group()


def _read_environment(launcher: str) -> None:
    names = LAUNCHERS[launcher]
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise ValueError(
            f'--launcher {launcher} is not allowed here: {", ".join(missing)} is not set, as this was not started '
            f'by {STARTERS[launcher]}'
        )
    values = [os.environ[name] for name in names]
    os.environ.update(zip(LAUNCHERS['pytorch'], values, strict=True))
    if launcher == 'slurm':
        os.environ.setdefault('MASTER_ADDR', first_node())
        os.environ.setdefault('MASTER_PORT', str(port_of_job(int(os.environ.get('SLURM_JOB_ID', 0)))))


def first_node() -> str:
    """Host name of the first node of the Slurm step."""
    env = os.environ
    if int(env.get('SLURM_STEP_NUM_NODES', env.get('SLURM_NNODES', 1))) == 1:
        return '127.0.0.1'
    command = ['scontrol', 'show', 'hostnames', env.get('SLURM_STEP_NODELIST', env.get('SLURM_NODELIST', ''))]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]


def port_of_job(job: int) -> int:
    """A port that two jobs on one node do not share."""
    return 20000 + job % 10000
