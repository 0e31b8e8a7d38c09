"""Readers and constructors under input that nobody chose; `RANET_FUZZ_CASES` sets how much each gets."""

import os
import random

import fuzzing
import pytest
import torch

pytest.importorskip('timm')
pytest.importorskip('yaml')
pytest.importorskip('mmpretrain')
hypothesis = pytest.importorskip('hypothesis', reason='options are drawn by hypothesis')
import yaml  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from ranet_mm import arch  # noqa: E402
from ranet_mm.lab import grid  # noqa: E402
from ranet_mm.network import RANetFeatures  # noqa: E402
from ranet_mm.weights import description, read  # noqa: E402

CASES = int(os.environ.get('RANET_FUZZ_CASES', 60))
SIZE = dict(widths=(8,), strides=(2,), mask_pools=(1,), post_width=8, stem_width=8, img_size=32)
VALID = st.fixed_dictionaries(
    {}, optional=dict(
        p=st.integers(1, 2), t=st.integers(1, 2), r=st.integers(1, 2), attention=st.sampled_from([*arch.ATTENTION]),
        learning=st.sampled_from([*arch.LEARNING]), unit=st.sampled_from(['type1', 'type2', 'inception_a']),
        upsample=st.sampled_from([*arch.UPSAMPLE]), stem_kernel=st.sampled_from([3, 7]), stem_pool=st.booleans(),
        always_project=st.booleans(), post_units=st.integers(0, 2),
    ),
)  # fmt: skip
NO_VALUE = st.sampled_from([None, -1, 0.5, 'x', '', [], {}, (), [None], ('x',), float('nan'), True, object])


@pytest.mark.parametrize('reader', fuzzing.READERS)
def test_readers_refuse_in_a_sentence(reader, tmp_path):
    seeds = fuzzing.READERS[reader][2]()
    assert not fuzzing.check(reader, seeds[0], tmp_path)  # it reads what was not changed
    for case in range(CASES):
        fuzzing.check(reader, fuzzing.changed(seeds[case % len(seeds)], random.Random(f'0/{case}')), tmp_path)


def test_what_was_found_once(tmp_path):
    """A number in a pickle for which C reserves gigabytes, and a stack that is empty."""
    for data in (b'\x80\x04K\x01r\xff\xff\xff\x0f.', b'\x80\x02u.', b'\x80\x04\x95' + b'\xff' * 8 + b'.'):
        assert fuzzing.check('predictions', data, tmp_path)
        assert fuzzing.check('checkpoint', data, tmp_path)


@given(options=VALID, sides=st.tuples(st.integers(32, 45), st.integers(32, 45)))
@settings(deadline=None, max_examples=CASES // 3)
def test_networks_of_any_options_take_any_size(options, sides):
    net = RANetFeatures(dict(SIZE, modules=(1,), **options)).eval()
    with torch.no_grad():
        out = net(torch.zeros(1, 3, *sides))
    assert out.shape[:2] == (1, net.num_features) and out.isfinite().all()


NAMES = ['modules', 'widths', 'strides', 'p', 't', 'r', 'unit', 'attention', 'learning', 'mask', 'width', 'post_units']


@given(name=st.sampled_from(NAMES), value=NO_VALUE)
@settings(deadline=None)
def test_an_option_that_is_none_is_named(name, value):
    hypothesis.assume((name, value) != ('width', 0.5))
    with pytest.raises(ValueError, match=rf'^{name}=|^widths='):
        arch.resolve_arch('attention56', **{name: value})


# State dicts, annotations, sweeps --------------------------------------------------------------------------

KEY = st.integers(0, 10**6)
OTHER_VALUE = st.sampled_from([None, 1, 'x', [1.0], {}, torch.zeros(()), torch.zeros(3, 0), torch.zeros(2, 2).bool()])
OTHER_KEY = st.sampled_from(['', 'x', 'stem', 'stages.0.1.mask.conv2.weight.', 'head.fc', 'é\n', 1, None])
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just('drop'), KEY), st.tuples(st.just('rename'), KEY, OTHER_KEY),
        st.tuples(st.just('set'), KEY, OTHER_VALUE), st.tuples(st.just('flatten'), KEY),
        st.tuples(st.just('cast'), KEY, st.sampled_from([torch.float16, torch.float64, torch.int8, torch.complex64])),
    ), max_size=4,
)  # fmt: skip


def spoilt(state, changes):
    found = dict(state)
    for kind, number, *value in changes:
        key = [*found][number % len(found)]
        if kind == 'drop':
            del found[key]
        elif kind == 'rename':
            found[value[0]] = found.pop(key)
        elif kind == 'set':
            found[key] = value[0]
        elif isinstance(found[key], torch.Tensor):
            found[key] = found[key].flatten() if kind == 'flatten' else found[key].to(value[0])
    return found


STATE, ABOUT = fuzzing.small()


def built(path):
    found = read.read(path)
    state, _ = read.weights_of(found)
    return description.build(description.of_checkpoint(found, state), state)


def outcome(read):
    """What it gives and what it says: one of the two."""
    try:
        return read(), ''
    except fuzzing.PROMISED as error:
        return None, str(error)


@given(changes=CHANGES)
@settings(deadline=None, max_examples=CASES)
def test_weights_that_were_changed_load_whole_or_are_refused(changes, tmp_path_factory):
    """What loads are the numbers that the file has."""
    path = tmp_path_factory.mktemp('weights') / 'file.pth'
    torch.save(dict(state_dict=spoilt(STATE, changes), meta=dict(ranet_mm=ABOUT)), path)
    model, said = outcome(lambda: built(path))
    assert '\n' not in said
    if model is None:
        assert said
        return
    given = spoilt(STATE, changes)
    for key, value in model.state_dict().items():
        assert value.shape == STATE[key].shape
        assert torch.equal(value, given.get(key, STATE[key]).to(value))


LINE = st.one_of(
    st.text(st.characters(codec='utf-8', exclude_characters='\n\r'), max_size=12),
    st.builds('{} {}'.format, st.sampled_from(['a.png', 'b c.png', '../x', '', '/']), st.integers(-2, 10**20)),
)


@given(lines=st.lists(LINE, max_size=4))
@settings(deadline=None, max_examples=CASES)
def test_lists_of_images_are_read_as_they_say_or_refused(lines, tmp_path_factory):
    from ranet_mm.mm.data.datasets import ImageFolder

    folder = tmp_path_factory.mktemp('lists')
    (folder / 'list.txt').write_text('\n'.join(lines), encoding='utf-8')
    options = dict(ann_file='list.txt', classes=['cat', 'dog'], pipeline=[])
    found, said = outcome(lambda: ImageFolder(str(folder), **options))
    assert '\n' not in said
    if found is None:
        assert said
    else:
        assert [int(line.rsplit(None, 1)[1]) for line in lines] == [*found.get_gt_labels()]


TREE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
    lambda part: st.one_of(st.lists(part, max_size=3), st.dictionaries(st.text(max_size=4), part, max_size=3)),
    max_leaves=6,
)


@given(fields=st.dictionaries(st.sampled_from([*grid.FIELDS, 'x']), TREE, max_size=4))
@settings(deadline=None, max_examples=5 * CASES)
def test_sweeps_of_any_fields_are_read_or_refused(fields, tmp_path_factory):
    path = tmp_path_factory.mktemp('sweeps') / 'sweep.yml'
    path.write_text(yaml.safe_dump(dict(config='x.py', seeds=[0], options={}) | fields))
    cells, said = outcome(lambda: [*grid.load(path).cells()])
    if cells is None:
        assert 'sweep' in said and '\n' not in said
    else:
        assert all(type(cell.seed) is int for cell in cells)


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16, torch.float16])
def test_a_network_of_another_precision_answers_in_it(dtype):
    net = RANetFeatures(dict(SIZE, modules=(1,))).eval().to(dtype)
    with torch.no_grad():
        out = net(torch.ones(1, 3, 37, 33, dtype=dtype))
    assert out.dtype == dtype and out.isfinite().all()
