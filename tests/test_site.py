"""The documentation builds as a site, with every link of its pages checked by mkdocs."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('material')
pytest.importorskip('mkdocstrings')

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    target = tmp_path_factory.mktemp('site')
    command = [sys.executable, '-m', 'mkdocs', 'build', '--site-dir', str(target)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def test_what_pages_link_to_in_the_repository_is_part_of_it(site):
    record = 'results/speed/forward_32.json'
    assert (site / 'repository' / record).read_bytes() == (ROOT / record).read_bytes()
    assert f'href="repository/{record}"' in (site / 'performance.html').read_text()
    assert 'class ArchCfg' not in (site / 'options.html').read_text()
    assert 'repository/ranet_mm/arch.py.html' in (site / 'options.html').read_text()


def test_the_reference_has_docstrings_and_signatures(site):
    page = (site / 'api.html').read_text()
    assert 'zero_init_last' in page
    assert 'arXiv:1603.05027' in page


def test_pages_load_nothing_from_elsewhere(site):
    from html.parser import HTMLParser

    loaded = []

    class Loads(HTMLParser):
        def handle_starttag(self, tag, attrs):
            found = dict(attrs)
            if tag in ('script', 'img', 'iframe') or (tag == 'link' and found.get('rel') != 'canonical'):
                loaded.append(found.get('src') or found.get('href') or '')

    for page in site.glob('*.html'):
        Loads().feed(page.read_text())
    assert len(loaded) > 20
    assert not [place for place in loaded if '//' in place]
