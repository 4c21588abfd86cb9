"""README.md and docs/ name files, classes, commands and settings: they must exist."""

import re
from pathlib import Path

import pytest

from main.config import Config
from main.presets import PRESETS

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
MOST_LINES, MOST_WORDS = 170, 1700  # of a first read


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def each(pattern: str) -> list:
    """(page, what the pattern finds) over all pages, each pair once."""
    pairs = dict.fromkeys((page, match) for page in PAGES for match in re.findall(pattern, read(page)))
    return [pytest.param(page, match, id=f"{page.name}-{match}") for page, match in pairs]


def commands() -> list:
    """(script, its arguments) of every command line, its continuations joined."""
    lines = []
    for page in PAGES:
        text = read(page).replace("\\\n", " ")
        for name, arguments in re.findall(r"python ([\w/]+\.py)([^`\n]*)", text):
            folder = ROOT if "/" in name else ROOT / "main"  # after `cd main`
            lines.append(pytest.param(folder / name, arguments.partition("#")[0], id=f"{page.name}-{name}"))
    return lines


def slug(title: str) -> str:
    """The anchor that a heading gets."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def test_the_readme_is_a_first_read():
    assert len(read(README).splitlines()) <= MOST_LINES
    assert len(read(README).split()) <= MOST_WORDS


def test_every_page_is_reached_from_the_readme():
    for page in PAGES[1:]:
        assert f"(docs/{page.name}" in read(README), page.name


@pytest.mark.parametrize(("page", "link"), each(r"\]\(([^)\s]+)\)"))
def test_links_lead_somewhere(page, link):
    if link.startswith("https://"):
        return
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    assert target.exists()
    if anchor:
        assert anchor in [slug(title) for title in re.findall(r"^#+ (.+)$", read(target), re.MULTILINE)]


@pytest.mark.parametrize(("page", "named"), each(r"\[`(\w+)`\]\(([\w/.]+\.py)\)"))
def test_named_classes_stand_in_their_files(page, named):
    name, path = named
    assert re.search(rf"^(class|def) {name}\b", read(page.parent / path), re.MULTILINE)


def test_the_boxes_of_the_figure_are_named():
    assert len(re.findall(r"\[`\w+`\]\([\w/]+\.py\)", read(README))) > 8


@pytest.mark.parametrize(("script", "arguments"), commands())
def test_commands_exist_with_their_options(script, arguments):
    source = read(script) + read(ROOT / "main" / "cli.py")
    for option in re.findall(r"(?<!\S)\[?(--\w+)", arguments):
        assert f'"{option}"' in source, option
    for names in re.findall(r"--preset (\w+(?:,\w+)*)", arguments):
        assert set(names.split(",")) <= {*PRESETS, "NAME"}, names


@pytest.mark.parametrize(("page", "key"), each(r"--set ([\w.]+)="))
def test_settings_exist(page, key):
    keys = {"key"}  # as in --set key=value
    for section, values in Config().to_dict().items():
        for name in values:
            keys |= {name, f"{section}.{name}"}
    assert key in keys


@pytest.mark.parametrize(("page", "path"), each(r"`((?:main|common|data|tool|tests)/[\w/.]+\.\w+)`"))
def test_named_files_exist(page, path):
    assert (ROOT / path).is_file()


def test_every_dependency_has_its_licence_named():
    licences = read(README).partition("## Licences")[2]
    for line in read(ROOT / "requirements.txt").splitlines():
        name = re.match(r"[a-z]+", line)[0]  # opencv of opencv-python-headless
        assert name in licences, name


def test_what_messages_refer_to_is_a_section():
    assert "\n## InterHand2.6M\n" in read(ROOT / "docs" / "data.md")
    for folder in ("main", "common", "data", "tool"):
        for path in (ROOT / folder).rglob("*.py"):
            for title, page in re.findall(r'see "([^"]+)" in (docs/\w+\.md)', read(path)):
                assert f"\n## {title}\n" in read(ROOT / page), path
