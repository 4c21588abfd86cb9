"""How long InterHand2.6M's annotations take to be read at their true size, and how much memory.

    python tool/interhand_size.py [--records 1361062] [--folder FOLDER]

Makes a set as large as the training split (annotations, and pictures as empty files) in a temporary folder,
or in FOLDER, where it stays; then starts the data set in new processes: a first time, which builds the index,
and again, which maps it. Needs 1.5 GB of disk and 1.4 million inodes.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.hand.mano import load_mano
from common.utils.errors import UserError, run_script
from tool.synthetic.true_size import RECORDS, write_true_size

CHILD = """
import gc, json, os, resource, sys, time
sys.path.insert(0, sys.argv[1])
from common.hand.mano import load_mano
from data.InterHand26M import InterHand26M

def anonymous():  # MB that belong to this process alone, mapped files left out
    lines = open("/proc/self/smaps_rollup").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) / 1024

mano = load_mano()
mano(mano.template.new_zeros(1, 2, 16, 3), mano.template.new_zeros(1, 2, 10))
gc.collect()
before = anonymous()
start, cpu = time.perf_counter(), time.process_time()
data = InterHand26M(mano, sys.argv[2] + "/annotations", sys.argv[2] + "/images", log=lambda line: None)
seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
for index in range(0, len(data), max(1, len(data) // 1000)):
    data.record(index)
gc.collect()
added = anonymous() - before
found = {"records": len(data), "seconds": seconds, "cpu": cpu, "added": added, "peak": peak}
print(json.dumps(found))
"""


def start_data_set(root: Path) -> dict[str, float]:
    """Seconds until the data set stands, in a new process; its memory. Linux only."""
    command = [sys.executable, "-c", CHILD, str(Path(__file__).resolve().parents[1]), str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"the data set does not start: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)


def folder_size(folder: Path) -> float:
    """MB of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def measure(root: Path, again: int) -> None:
    """Print a table of the first start and later ones."""
    cache = root / "annotations" / "lgnet_cache"
    shutil.rmtree(cache, ignore_errors=True)
    print(f"{'start':<8} {'seconds':>8} {'of a core':>10} {'MB added':>9} {'MB at most':>11} {'records':>10}")
    for number in range(1 + again):
        found = start_data_set(root)
        name = "later" if number else "first"
        times = f"{found['seconds']:8.2f} {found['cpu']:10.2f}"
        print(f"{name:<8} {times} {found['added']:9.0f} {found['peak']:11.0f} {found['records']:10,}")
    print(f"the index: {folder_size(cache):,.0f} MB, mapped; load of the machine {os.getloadavg()[0]:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--folder", type=Path, help="keep the set here, or use the one that is here")
    parser.add_argument("--again", type=int, default=3, help="how many later starts")
    args = parser.parse_args()
    if not Path("/proc/self/smaps_rollup").is_file():
        raise UserError("this program reads a process' memory from /proc: run it on Linux")
    root = args.folder or Path(tempfile.mkdtemp(prefix="interhand_size_"))
    try:
        if not (root / "annotations").is_dir():
            started = time.perf_counter()
            path = write_true_size(root, load_mano(), args.records)
            seconds = time.perf_counter() - started
            print(f"made {path.name}, {path.stat().st_size / 1e6:,.0f} MB, and the others in {seconds:.0f} s")
        measure(root, args.again)
    finally:
        if args.folder is None:
            shutil.rmtree(root)


if __name__ == "__main__":
    run_script(main)
