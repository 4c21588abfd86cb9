"""A report in a real browser: are its pictures decoded, its headings there, and does no link lead out?"""

import json
import re
import subprocess
import tempfile
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

BROWSER = "chromium"
HEADINGS = ("What may be compared with what", "Headline", "Every number", "Settings")
LINKS = ("src", "srcset", "href", "xlink:href", "data", "action", "poster", "background")
# Written at the end of a copy of the page: what the browser made of it, as one line of text.
PROBE = """<script>addEventListener("load", () => {
  const root = document.documentElement, all = (what, read) => Array.from(root.querySelectorAll(what), read);
  const seen = {pictures: all("img", i => i.naturalWidth), headings: all("h1, h2", h => h.textContent),
    width: root.scrollWidth, window: root.clientWidth, height: root.scrollHeight};
  const line = document.createElement("pre");
  line.id = "probe"; line.hidden = true; line.textContent = encodeURIComponent(JSON.stringify(seen));
  document.body.append(line); });</script>"""
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run")
OPTIONS += ("--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND")
SECONDS = 120


class Links(HTMLParser):
    """Collects every address in a page that would have to be loaded from, or leads, somewhere else."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in LINKS and not (value or "").startswith(("data:", "#")):
                self.links.append(f"{tag} {name}={value}")
            if name == "style":
                self.read_style(value or "")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "style":
            self.read_style(data)

    def read_style(self, text: str) -> None:
        self.links += re.findall(r"@import[^;]*|url\((?!data:)[^)]*\)", text)


def outside_links(page: str) -> list[str]:
    """The links of a page that are neither inside it nor data, and every address written out."""
    links = Links()
    links.feed(page)
    links.close()
    return links.links + re.findall(r"https?://[^\s<\"']*", page)


def browse(page: str, width: int, height: int, *options: str) -> str:
    """What the browser prints for a page of its own, without a network."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "page.html"
        copy.write_text(page, encoding="utf-8")
        size = (f"--user-data-dir={folder}/profile", f"--window-size={width},{height}")
        command = [BROWSER, *OPTIONS, *size, *options, copy.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr[-300:]
    return done.stdout


def probe(page: str, width: int) -> dict[str, Any]:
    """{"pictures": natural widths, "headings", "width", "window", "height"} as the browser sees them."""
    dumped = browse(page + PROBE, width, 900, "--dump-dom")
    found = re.search(r'<pre id="probe"[^>]*>([^<]*)</pre>', dumped)
    assert found, "the browser did not open the page"
    return json.loads(urllib.parse.unquote(found[1]))


def screenshot(page: str, file: Path, width: int = 1100) -> None:
    """The whole page as a PNG, to be looked at."""
    browse(page, width, probe(page, width)["height"], f"--screenshot={file.resolve()}")


def faults(page: str, width: int = 1100) -> list[str]:
    """What is wrong with a page in a window of this width, one clause each."""
    seen = probe(page, width)
    broken = sum(natural == 0 for natural in seen["pictures"])
    absent = [heading for heading in HEADINGS if heading not in seen["headings"]]
    wrong = [f"it holds the outside link {link[:80]!r}" for link in outside_links(page)]
    if broken:
        wrong.append(f"{broken} of {len(seen['pictures'])} pictures were not decoded")
    if absent:
        wrong.append(f"the headings {absent} are missing")
    if seen["width"] > seen["window"]:
        wrong.append(f"it is {seen['width']} pixels wide in a window of {seen['window']}")
    return wrong
