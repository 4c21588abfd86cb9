"""A headless Chromium that draws a page from the disk, and what the page asked the network for meanwhile."""

import json
import shutil
import subprocess
from pathlib import Path

from common.utils.image import read_image

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FOUND = next((path for path in map(shutil.which, NAMES) if path), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),  # no GPU
    *("--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--hide-scrollbars", "--force-device-scale-factor=1"),
    *("--proxy-server=127.0.0.1:9", "--virtual-time-budget=8000"),  # nobody answers there
)


def visit(page: Path, folder: Path, fragment: str = "", size: tuple[int, int] = (640, 480)):
    """Open a file -> screenshot RGB (H,W,3), the page as its script left it, the addresses it asked for."""
    shot, log = folder / "shot.png", folder / "net.json"
    places = [f"--user-data-dir={folder / 'user'}", f"--screenshot={shot}", f"--log-net-log={log}"]
    window = f"--window-size={size[0]},{size[1]}"
    command = [FOUND, *FLAGS, *places, window, "--dump-dom", page.resolve().as_uri() + fragment]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return read_image(shot), done.stdout, asked_by_pages(json.loads(log.read_text()))


def asked_by_pages(log: dict) -> list[str]:
    """Requests of which Chromium's own log says that a page began them, not the browser itself."""
    found = []
    for event in log["events"]:
        values = event.get("params", {})
        if "url" in values and values.get("initiator", "not an origin") != "not an origin":
            found.append(values["url"])
    return [address for address in found if not address.startswith(("file:", "data:"))]
