"""The site is whole: what is broken fails the build, and no page asks another host."""

import re
import shutil
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest

from autograder import report
from autograder.course import ROOT

BUILT = ROOT / "_build" / "html"
PAGES = sorted(
    str(path.relative_to(ROOT).with_suffix(".html"))
    for path in (ROOT / "book").rglob("*.md")
)

HEADER = """\
---
jupytext:
  text_representation: {extension: .md, format_name: myst}
kernelspec: {display_name: Python 3, language: python, name: python3}
---

# A page

"""
WHOLE = """\
$$e^{i \\pi} + 1 = 0$$

```{code-cell} ipython3
print(1 + 1)
```

```{exercise} causal_mask
```

```{mistakes} causal_mask
```

See [](#causal_mask).
"""
BREAKAGES = {
    "a cell that raises": ("print(1 + 1)", "print(1 / 0)"),
    "a link to a page that is not there": ("(#causal_mask)", "(99_nothing.md)"),
    "a link to an anchor that is not there": ("(#causal_mask)", "(#acausal_mask)"),
    "a function that the solutions do not have": (
        "{exercise} causal_mask",
        "{exercise} causal_musk",
    ),
    "a formula that is not LaTeX": ("e^{i \\pi}", "\\frac{1}{"),
}


def build(folder: Path, page: str) -> subprocess.CompletedProcess[str]:
    """Build a site of one page, with the real configuration and extensions."""
    for name in ("_ext", "_static", "_templates"):
        shutil.copytree(ROOT / "book" / name, folder / "book" / name)
    shutil.copy(ROOT / "_config.yml", folder)
    for name in ("exercises", "solutions"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "_toc.yml").write_text("format: jb-book\nroot: book/index\n")
    (folder / "book" / "index.md").write_text(HEADER + page)
    return subprocess.run(
        [Path(sys.executable).with_name("jupyter-book"), "build", "-W", "-n",
         "--keep-going", str(folder)],
        capture_output=True, text=True,
    )  # fmt: skip


def test_a_whole_page_builds(tmp_path):
    done = build(tmp_path, WHOLE)
    assert done.returncode == 0, done.stderr
    html = (tmp_path / "_build/html/book/index.html").read_text()
    assert "<math" in html
    assert 'id="causal_mask"' in html


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_what_is_broken_fails_the_build(tmp_path, breakage):
    old, new = BREAKAGES[breakage]
    assert old in WHOLE
    assert build(tmp_path, WHOLE.replace(old, new)).returncode != 0


class Assets(HTMLParser):
    """Collect what a browser loads by itself, links and anchors, and the elements."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: set[str] = set()
        self.unlabelled: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        values = dict(attrs)
        if tag in ("script", "img", "iframe", "source") and values.get("src"):
            self.loaded.append(values["src"])
        if tag == "link" and values.get("rel") in ("stylesheet", "preload", "icon"):
            self.loaded.append(values["href"])
        source = values.get("src") or ""
        if tag == "img" and "/_images/" in source and not values.get("alt"):
            self.unlabelled.append(source)
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if values.get("id"):
            self.anchors.add(values["id"])


@cache
def assets_of(page: str) -> Assets:
    assets = Assets()
    assets.feed((BUILT / page).read_text("utf-8"))
    return assets


@pytest.mark.parametrize("page", PAGES)
def test_a_page_loads_nothing_from_another_host(page):
    loaded = assets_of(page).loaded
    assert loaded
    for url in loaded:
        assert not re.match(r"(https?:)?//", url), url
        if not url.startswith("data:"):
            assert (BUILT / page).parent.joinpath(url.split("?")[0]).exists(), url
    for sheet in BUILT.glob("_static/**/*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//", sheet.read_text("utf-8"))


@pytest.mark.parametrize("page", [page for page in PAGES if "/0" in page])
def test_a_chapter_has_mathematics_without_a_script_and_pictures_with_words(page):
    assets = assets_of(page)
    assert "math" in assets.tags
    assert not any("mathjax" in url.lower() for url in assets.loaded)
    assert not assets.unlabelled


@pytest.mark.parametrize("page", PAGES)
def test_a_link_leads_to_a_place_of_the_site_also_from_a_card_of_the_grader(page):
    for link in assets_of(page).links:
        if re.match(r"(https?|data|javascript):", link):
            continue
        path, _, anchor = link.partition("#")
        target = BUILT.joinpath(page).parent.joinpath(path) if path else BUILT / page
        assert target.exists(), link
        if anchor and target.suffix == ".html":
            other = str(target.resolve().relative_to(BUILT.resolve()))
            assert anchor in assets_of(other).anchors, link


@pytest.mark.parametrize(
    ("folder", "target"), [(".", "06_masks.html"), ("appendix", "../06_masks.html")]
)
def test_a_card_on_a_page_leads_to_the_chapter(monkeypatch, folder, target):
    monkeypatch.chdir(ROOT / "book" / folder)
    assert f'href="{target}#causal_mask"' in report.chapter_link("causal_mask")
