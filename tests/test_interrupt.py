"""A signal stops a run between two batches, and its data workers by SIGTERM alone."""

import os
import signal
from types import SimpleNamespace

import pytest

pytest.importorskip('mmengine')

from ranet_mm.mm.engine.hooks import InterruptHook


@pytest.fixture
def hook():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in a shell's background ignores it
    hook = InterruptHook()
    hook.before_train(SimpleNamespace(distributed=False))
    yield hook
    hook.close()
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize('number', InterruptHook.SIGNALS)
def test_the_step_is_finished_and_what_was_trained_is_the_latest_checkpoint(hook, number, tmp_path):
    saved = []
    runner = SimpleNamespace(
        work_dir=tmp_path, epoch=2, iter=7, max_iters=12, save_checkpoint=lambda *a, **k: saved.append((a, k))
    )
    hook.after_train_iter(runner)
    signal.raise_signal(number)
    assert not saved
    with pytest.raises(KeyboardInterrupt, match='interrupted after iteration 8 of 12; --resume goes on'):
        hook.after_train_iter(runner)
    assert saved == [((str(tmp_path), 'interrupted.pth'), dict(meta=dict(epoch=2, iter=8)))]
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'interrupted.pth')


@pytest.mark.parametrize(('mode', 'where'), [('val', 'validation'), ('test', 'the test')])
def test_validation_ends_behind_any_batch(hook, mode, where):
    """Where all processes have two, nothing is said behind a third, which others may lack."""
    runner = SimpleNamespace(**{f'{mode}_dataloader': range(2)})
    getattr(hook, f'before_{mode}_epoch')(runner)
    after = getattr(hook, f'after_{mode}_iter')
    after(runner, batch_idx=0)
    hook.interrupted = True
    after(runner, batch_idx=2)
    for index in range(2):
        with pytest.raises(KeyboardInterrupt, match=f'interrupted in {where};'):
            after(runner, batch_idx=index)


def test_a_second_signal_stops_at_once(hook):
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(('number', 'status'), [(signal.SIGTERM, 1), (signal.SIGINT, 7)])
def test_a_data_worker_leaves_the_decision_to_its_parent(hook, number, status):
    child = os.fork()
    if not child:
        os.kill(os.getpid(), number)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == status
    assert not hook.interrupted


@pytest.mark.parametrize(('latest', 'left'), [('epoch_2.pth', False), ('interrupted.pth', True)])
def test_what_a_later_checkpoint_replaces_is_removed(hook, tmp_path, latest, left):
    (tmp_path / 'interrupted.pth').touch()
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / latest))
    hook.after_train(SimpleNamespace(work_dir=tmp_path))
    assert (tmp_path / 'interrupted.pth').exists() == left
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
