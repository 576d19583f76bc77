"""The site of the pages: built strictly, complete, and without a thing from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import der
from tests.locations import ROOT
from tests.runs.pages import PAGES, read_page

# What a page would load: attributes of elements that fetch without being clicked.
FETCHED = re.compile(
    r'<(?:script|img|iframe|source)\b[^>]*\ssrc="?([^">\s]+)|<link\b(?![^>]*rel="?canonical)[^>]*\shref="?([^">\s]+)'
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it, with the outputs of the tutorial on record."""
    (line,) = re.findall(r"^\t(?:\w+=\w+ )*python -m mkdocs (.+)$", read_page("Makefile"), re.MULTILINE)
    place = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", *line.split(), "--site-dir", str(place)]
    # mkdocs follows the proxy of the environment: one where nobody answers.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    environment = os.environ | nowhere | {"NO_MKDOCS_2_WARNING": "1", "PYTHONWARNINGS": "ignore"}
    environment["DOCS_RECORDED"] = "1"
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return place


def test_every_page_is_built_and_fetches_nothing_from_elsewhere(site: Path) -> None:
    for page in PAGES[1:]:
        name = Path(page).stem
        built = site / "index.html" if name == "index" else site / name / "index.html"
        text = built.read_text(encoding="utf-8")
        fetched = [place for groups in FETCHED.findall(text) for place in groups if place]
        assert fetched and not [place for place in fetched if "//" in place and not place.startswith("data:")]
        assert 'data-md-component="source"' not in text  # whose script asks GitHub for numbers
    assert not (site / "hooks.py").exists()
    styles = "".join(path.read_text(encoding="utf-8") for path in (site / "assets").rglob("*.css"))
    assert not re.search(r"@import|url\(['\"]?(?:https?:)?//", styles)


def test_the_tutorial_is_a_page_with_its_outputs(site: Path) -> None:
    text = (site / "tutorial/index.html").read_text(encoding="utf-8")
    assert text.count('src="data:image/png;base64,') == 2 and "DERClassifier(learned 10 classes) True" in text
    assert 'href="tutorial/"' in (site / "index.html").read_text(encoding="utf-8")


def test_the_reference_has_all_that_is_public(site: Path) -> None:
    text = (site / "api/index.html").read_text(encoding="utf-8")
    assert set(re.findall(r"^::: der\.(\w+)$", read_page("docs/api.md"), re.MULTILINE)) == set(der.__all__)
    for name in der.__all__:
        assert f'id="der.{name}"' in text, name
    methods = {name for name in vars(der.DERClassifier) if not name.startswith("_")} - {"of"}
    assert {name for name in methods if f'id="der.DERClassifier.{name}"' not in text} == set()


def test_links_out_of_the_site_lead_to_files_of_the_repository(site: Path) -> None:
    built = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.html"))
    linked = set(re.findall(r'href="https://github\.com/[\w-]+/[\w-]+/blob/main/([^"#]+)', built))
    assert len(linked) > 5 and [name for name in linked if not (ROOT / name).exists()] == []
    assert 'href="../' not in "".join(re.findall(r'<a href="\.\./\.\./[^"]*\.md', built))


def test_the_pages_are_short() -> None:
    """CONTRIBUTING.md has the limits. Numbers, and the lines of tables, are no words."""
    words = [word for page in PAGES[1:] for word in read_page(page).split() if re.search("[a-z]", word, re.I)]
    assert len(words) <= 10_000
    assert len(read_page("README.md").splitlines()) <= 130


@pytest.mark.parametrize("page", PAGES)
def test_links_in_the_repository(page: str) -> None:
    """Files and headings, as one reads the page in a clone."""
    for link in re.findall(r"\]\(([^)\s]+)\)", read_page(page)):
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, link


def slug(heading: str) -> str:
    """A heading's anchor."""
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")
