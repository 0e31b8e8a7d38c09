"""Our loops train and validate where MMEngine's do; resumed after any step they do what is left."""

from types import SimpleNamespace

import pytest

pytest.importorskip('mmengine')

from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from ranet_mm.mm.engine.loops import ResumableIterTrainLoop, ResumableTrainLoop, stretch

LENGTH = 3  # batches of an epoch
KINDS = {
    'epochs': (ResumableTrainLoop, EpochBasedTrainLoop, 'max_epochs'),
    'iterations': (ResumableIterTrainLoop, IterBasedTrainLoop, 'max_iters'),
}
# How many epochs or iterations, of how many each is validated, and from which one on.
SCHEDULES = [(7, 3, 1), (7, 3, 4), (6, 3, 1), (5, 9, 1), (4, 1, 4), (4, 2, 9)]


class Model(nn.Module):
    def train_step(self, batch, optim_wrapper):
        assert self.training
        self.events.append(('train', batch.tolist()))
        return {}


def made(cls, name, schedule, validates=True, steps_before=LENGTH):
    """A loop, and the list of what it does."""
    most, interval, begin = schedule
    model = Model()
    model.events = events = []
    told = dict(max_iters=most * steps_before, max_epochs=most)  # what a checkpoint brings
    runner = SimpleNamespace(
        model=model, seed=0, optim_wrapper=None, call_hook=lambda name, **kwargs: events.append((name,)),
        message_hub=SimpleNamespace(get_info=told.get),
    )  # fmt: skip
    sampler = BatchSampler(SequentialSampler(range(2 * LENGTH - 1)), 2, drop_last=False)
    loader = DataLoader(range(2 * LENGTH - 1), batch_sampler=sampler)
    loop = cls(runner, loader, **{name: most}, val_interval=interval, val_begin=begin)

    def run():
        events.append(('val', loop._iter))
        model.eval()

    runner.val_loop = SimpleNamespace(run=run) if validates else None
    runner.train_loop, runner.train_dataloader = loop, loader
    return loop, events


@pytest.mark.parametrize('validates', [True, False])
@pytest.mark.parametrize('schedule', SCHEDULES)
@pytest.mark.parametrize('kind', KINDS)
def test_what_mmengine_does(kind, schedule, validates):
    ours, theirs, name = KINDS[kind]
    found = []
    for cls in (ours, theirs):
        loop, events = made(cls, name, schedule, validates)
        assert loop.run() is loop.runner.model
        found.append(events)
    assert found[0] == found[1]
    assert ('val', loop._max_iters) in found[0] or not validates or schedule[2] > schedule[0]


@pytest.mark.parametrize('schedule', SCHEDULES)
@pytest.mark.parametrize('kind', KINDS)
def test_what_is_left_after_any_step(kind, schedule):
    """Validation behind the last step that a checkpoint has is made up for."""
    cls, _, name = KINDS[kind]
    whole, events = made(cls, name, schedule)
    whole.run()
    done = [i for i, event in enumerate(events) if event[0] == 'train']
    for steps in range(1, len(done)):
        loop, found = made(cls, name, schedule)
        loop._iter, loop._epoch = steps, steps // LENGTH if kind == 'epochs' else 0
        loop.run()
        assert steps_of(found) == steps_of(events[done[steps - 1] + 1 :])


def steps_of(events):
    return [event for event in events if len(event) == 2 and event[0] in ('train', 'val')]


@pytest.mark.parametrize('before', [LENGTH - 1, LENGTH + 1])
def test_epochs_of_another_length_cannot_go_on(before):
    loop, events = made(ResumableTrainLoop, 'max_epochs', (4, 1, 1), steps_before=before)
    loop._iter, loop._epoch = before, 1
    with pytest.raises(ValueError, match=f'an epoch of {LENGTH} iterations .* whose epochs have {before}:'):
        loop.run()
    assert not events


def test_more_epochs_than_there_are_to_be_cannot_go_on():
    loop, events = made(ResumableTrainLoop, 'max_epochs', (4, 1, 1))
    loop._iter, loop._epoch = 5 * LENGTH, 5
    with pytest.raises(ValueError, match='max_epochs=4 is not allowed here: the checkpoint has 5 epochs'):
        loop.run()
    assert not events


def test_a_point_of_the_curve():
    for kind, expected in (('epochs', LENGTH), ('iterations', 2)):
        cls, _, name = KINDS[kind]
        assert stretch(made(cls, name, (4, 2, 1))[0].runner) == expected
