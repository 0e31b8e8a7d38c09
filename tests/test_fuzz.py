"""Readers and constructors under input that nobody chose; `RANET_FUZZ_CASES` sets how many files each reader gets."""

import os
import random

import fuzzing
import pytest
import torch

pytest.importorskip('timm')
pytest.importorskip('yaml')
pytest.importorskip('mmpretrain')
hypothesis = pytest.importorskip('hypothesis', reason='options are drawn by hypothesis')
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from ranet_mm import arch  # noqa: E402
from ranet_mm.network import RANetFeatures  # noqa: E402

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
