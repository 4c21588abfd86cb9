"""Open a report in a real browser: are its pictures decoded, its headings there, and no link leads out?

python tool/check_report.py REPORT.html [--screenshot OUT.png] [--width 1100] [--browser chromium]
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.utils.errors import UserError, run_script

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
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in LINKS and not (value or "").startswith(("data:", "#")):
                self.found.append(f"{tag} {name}={value}")
            if name == "style":
                self.read_style(value or "")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "style":
            self.read_style(data)

    def read_style(self, text: str) -> None:
        self.found += re.findall(r"@import[^;]*|url\((?!data:)[^)]*\)", text)


def outside_links(page: str) -> list[str]:
    """The links of a page that are neither inside it nor data, and every address written out."""
    links = Links()
    links.feed(page)
    links.close()
    return links.found + re.findall(r"https?://[^\s<\"']*", page)


def browse(browser: str, page: str, width: int, height: int, *options: str) -> str:
    """What the browser prints for a page of its own, without a network. Raises UserError if it cannot."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "page.html"
        copy.write_text(page, encoding="utf-8")
        size = (f"--user-data-dir={folder}/profile", f"--window-size={width},{height}")
        command = [browser, *OPTIONS, *size, *options, copy.as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        except FileNotFoundError:
            raise UserError(f"there is no browser '{browser}'; name one with --browser") from None
        except subprocess.TimeoutExpired:
            raise UserError(f"'{browser}' did not finish within {SECONDS} s") from None
    if done.returncode != 0:
        raise UserError(f"'{browser}' ended with code {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


def probe(browser: str, page: str, width: int) -> dict[str, Any]:
    """{"pictures": natural widths, "headings", "width", "window", "height"} as the browser sees them."""
    dumped = browse(browser, page + PROBE, width, 900, "--dump-dom")
    found = re.search(r'<pre id="probe"[^>]*>([^<]*)</pre>', dumped)
    if found is None:
        raise UserError(f"'{browser}' did not open the page")
    return json.loads(urllib.parse.unquote(found[1]))


def faults(page: str, seen: dict[str, Any]) -> list[str]:
    """What is wrong with a page, one clause each."""
    broken = sum(width == 0 for width in seen["pictures"])
    absent = [heading for heading in HEADINGS if heading not in seen["headings"]]
    wrong = [f"it holds the outside link {link[:80]!r}" for link in outside_links(page)]
    wrong += [f"{broken} of {len(seen['pictures'])} pictures were not decoded"] * bool(broken)
    wrong += [f"the headings {absent} are missing"] * bool(absent)
    wide = seen["width"] > seen["window"]
    return wrong + [f"it is {seen['width']} pixels wide in a window of {seen['window']}"] * wide


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("report", type=Path)
    options.add_argument("--screenshot", type=Path, help="write the whole page as a PNG")
    options.add_argument("--width", type=int, default=1100, help="of the window, pixels")
    options.add_argument("--browser", default="chromium")
    args = options.parse_args()
    page = args.report.read_text(encoding="utf-8", errors="replace")
    seen = probe(args.browser, page, args.width)
    print(f"{len(seen['pictures'])} pictures, natural widths {seen['pictures']}")
    print(f"headings: {'; '.join(seen['headings'])}")
    print(f"page of {seen['width']} x {seen['height']} pixels in a window of {seen['window']}")
    if args.screenshot:
        file = f"--screenshot={args.screenshot.resolve()}"
        browse(args.browser, page, args.width, seen["height"], file)
        print(f"screenshot: {args.screenshot}")
    wrong = faults(page, seen)
    if wrong:
        print(f"error: {args.report}: {'; '.join(wrong)}", file=sys.stderr)
        sys.exit(1)
    print("good: every picture decoded, every heading there, no outside link")


if __name__ == "__main__":
    run_script(main)
