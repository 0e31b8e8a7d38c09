"""Files are there whole or not at all: what is written, checked, renamed, and found damaged later."""

import ast
import os
import resource
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT

from ranet_mm import files
from ranet_mm.weights.read import peek, read

PACKAGE = ROOT / 'ranet_mm'
WRITERS = {'write_text', 'write_bytes', 'save_file', 'to_csv', 'tofile', 'savetxt'}


def fail(draft, path):
    draft.write_text('half')
    assert path.read_text() == 'before'
    raise KeyError


def test_a_file_is_as_before_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / 'new' / 'file.txt'
    files.write(path, 'before')
    with pytest.raises(KeyError), files.whole(path) as draft:
        fail(draft, path)
    assert path.read_text() == 'before'
    assert os.listdir(path.parent) == ['file.txt']
    files.write_json(path, dict(a=[1]))
    assert path.read_text() == '{\n "a": [\n  1\n ]\n}\n'


def test_what_fails_its_check_does_not_become_the_file(tmp_path):
    path = tmp_path / 'arrays.npz'
    path.write_bytes(b'before')

    def write(spoil):
        with files.whole(path, files.check_zip) as draft:
            np.savez(draft, a=np.arange(1000))
            spoil(draft)

    with pytest.raises(
        OSError, match=r"arrays.npz' cannot be written, it does not read as it was written: what it held"
    ):
        write(lambda draft: os.truncate(draft, 2000))
    assert path.read_bytes() == b'before'
    write(lambda draft: None)
    assert np.load(path)['a'][-1] == 999


def test_what_a_disk_has_changed_is_noticed(tmp_path, monkeypatch):
    sync = files.sync
    monkeypatch.setattr(files, 'sync', sync)
    original = Path.write_bytes
    monkeypatch.setattr(Path, 'write_bytes', lambda path, data: original(path, data[:-1] + b'?'))
    with pytest.raises(OSError, match='it does not read as it was written: nothing is left of it'):
        files.write(tmp_path / 'file', b'content')
    assert not os.listdir(tmp_path)


def test_a_full_disk_is_one_sentence_and_costs_no_file(tmp_path):
    """By the limit of the size of files that a process has: in a fork, as it cannot be raised again."""
    path = tmp_path / 'file'
    path.write_text('before')
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            files.write(path, b'x' * 5000)
        except OSError as error:
            (tmp_path / 'said').write_text(str(error))
        os._exit(0)
    os.waitpid(child, 0)
    said = (tmp_path / 'said').read_text()
    assert said == f"file '{path}' cannot be written, File too large: what it held before is untouched"
    assert sorted(os.listdir(tmp_path)) == ['file', 'said']
    assert path.read_text() == 'before'


def test_a_folder_or_a_read_only_file_is_refused(tmp_path, monkeypatch):
    with pytest.raises(OSError, match='cannot be written, it is a folder'):
        files.write(tmp_path, 'text')
    path = tmp_path / 'file'
    path.write_text('kept')
    monkeypatch.setattr(os, 'access', lambda path, mode: False)  # root may write everywhere
    with pytest.raises(OSError, match='cannot be written, it is read-only: what it held before is untouched'):
        files.write(path, 'text')
    assert path.read_text() == 'kept'


def test_links_modes_and_pipes_stay_what_they_are(tmp_path):
    target, link, pipe = tmp_path / 'target', tmp_path / 'link', tmp_path / 'pipe'
    target.write_text('before')
    target.chmod(0o600)
    link.symlink_to(target)
    files.write(link, 'after')
    assert link.is_symlink()
    assert target.read_text() == 'after'
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with files.whole(pipe) as straight:
        straight.write_text('through')
        assert os.read(reader, 100) == b'through'
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_drafts_of_killed_processes_are_removed(tmp_path):
    old, young, other = (tmp_path / f'{files.DRAFT}{name}' for name in ('1-file', '2-file', '3-other'))
    for path in (old, young, other):
        path.write_text('half')
    for path in (old, other):
        os.utime(path, (0, 0))
    files.write(tmp_path / 'file', 'whole')
    assert sorted(os.listdir(tmp_path)) == [young.name, other.name, 'file']
    files.remove_drafts(tmp_path)
    assert os.listdir(tmp_path) == ['file']


class TestDamage:
    @pytest.fixture
    def checkpoint(self, tmp_path):
        path = tmp_path / 'epoch_1.pth'
        torch.save(dict(meta=dict(iter=3), state_dict={'a': torch.ones(5000)}), path)
        return path

    def test_a_flipped_bit_of_a_weight_is_noticed(self, checkpoint):
        """PyTorch itself reads it without a word."""
        data = bytearray(checkpoint.read_bytes())
        data[data.index(torch.ones(5000).numpy().tobytes()) + 100] ^= 1
        checkpoint.write_bytes(data)
        assert (torch.load(checkpoint)['state_dict']['a'] != 1).sum() == 1
        assert zipfile.ZipFile(checkpoint).testzip()
        assert not files.intact(checkpoint)
        assert peek(checkpoint)['meta'] == dict(iter=3)
        with pytest.raises(ValueError, match='cannot be read: it is damaged or no checkpoint'):
            read(checkpoint)

    @pytest.mark.parametrize('share', [0.0, 0.3, 0.9, 0.999])
    def test_one_that_was_cut_short(self, checkpoint, share):
        os.truncate(checkpoint, int(checkpoint.stat().st_size * share))
        with pytest.raises(ValueError, match='cannot be read: it is damaged or no checkpoint'):
            read(checkpoint)
        with pytest.raises(ValueError, match='cannot be read'):
            peek(checkpoint)

    def test_files_without_checksums_and_of_the_old_kind_are_read(self, checkpoint):
        content = torch.load(checkpoint)
        torch.serialization.set_crc32_options(False)
        try:
            torch.save(content, checkpoint)
        finally:
            torch.serialization.set_crc32_options(True)
        assert read(checkpoint)['meta'] == peek(checkpoint)['meta'] == dict(iter=3)
        torch.save(content, checkpoint, _use_new_zipfile_serialization=False)
        assert read(checkpoint)['meta'] == peek(checkpoint)['meta'] == dict(iter=3)


def test_nothing_in_the_package_writes_otherwise():
    """To a file of its own name: only to a draft, which `files.whole` gives, or through `files.write`."""
    found = [f'{path.relative_to(PACKAGE)}:{line}' for path in modules() for line in direct(path)]
    assert found == []


def modules():
    left_out = 'files.py', 'hub.py'  # the latter writes pictures into a temporary folder
    return [path for path in sorted(PACKAGE.rglob('*.py')) if '.mim' not in path.parts and path.name not in left_out]


def direct(path):
    """Lines that write to a path which is no draft."""
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)} if isinstance(node, ast.Call) else {}
        if isinstance(node, ast.Call) and writes(node) and not names & {'draft', 'buffer'}:
            yield f'{node.lineno} {ast.unparse(node)}'


def writes(call):
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, 'id', '')
    if name in WRITERS:
        return True
    if name == 'open':
        modes = [v.value for v in (*call.args, *(k.value for k in call.keywords)) if isinstance(v, ast.Constant)]
        return any(isinstance(mode, str) and set(mode) <= set('rwaxbt+') and set(mode) & set('wx+') for mode in modes)
    library = isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) != 'weights'  # our own does it well
    return library and name in ('save', 'savez', 'savez_compressed', 'savefig')
