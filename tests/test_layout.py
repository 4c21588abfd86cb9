"""The plan of the code: imports only go down, nothing refused is used, importing only defines."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Lower floors may not know higher ones; within a floor only a package knows itself.
FLOORS = [
    ["common.utils"],
    ["common.hand"],
    ["common.targets", "common.nets", "common.eval", "data"],
    ["common.show"],
    ["common.training"],
    ["common.base"],
    ["main.config"],
    ["main.model", "main.presets"],
    ["main.result.kinds", "main.result.hand_values", "main.demonstration.sources", "main.detector"],
    ["main.result.describe", "main.result.draw", "main.result.stream", "main.result.viewer"],
    ["main.result.export"],
    ["main.result.two_hands"],
    ["main.predictor"],
    ["main.find"],
    ["main.cli", "main.build", "main.resume"],
    ["main.demonstration.smooth"],
    ["main.demonstration.video"],
    ["main.demonstration.session"],
    ["main.evaluation"],
    ["main.validation"],
    ["main.train", "main.test", "main.demo"],
]
FORBIDDEN = {
    "main.config": ("common.base", "common.eval", "common.hand", "common.nets", "common.show", "data"),
    "data": ("common.nets", "common.eval", "main"),
    "common.nets": ("common.eval", "data", "common.targets"),
    "common.eval": ("common.nets", "data"),
}
REFUSED = {"chumpy", "torchgeometry", "pytorch3d", "pyrender", "detectron2", "mmcv"}
SOURCES = sorted(p for d in ("main", "common", "data") for p in (ROOT / d).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert all(alias.name != "*" for alias in node.names), f"{path}: star import"
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def home(module: str) -> tuple[int, str] | None:
    """Floor and package of one of our modules."""
    for floor, packages in enumerate(FLOORS):
        for package in packages:
            if module == package or module.startswith(package + "."):
                return floor, package
    return None


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path):
    mine = home(module_name(path))
    if mine is None:
        assert path.name == "__init__.py" and not imported(path), f"{path} has no floor"
        return
    for name in imported(path):
        assert name.split(".")[0] not in REFUSED | {"tool", "tests"}, f"{path} imports {name}"
        other = home(name)
        if other is not None and other != mine:
            assert other[0] < mine[0], f"{path} on floor {mine} imports {name} on floor {other}"
        for banned in FORBIDDEN.get(mine[1], ()):
            assert not f"{name}.".startswith(banned + "."), f"{path} imports {name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_refused_habit(path):
    text = path.read_text(encoding="utf-8")
    for habit in (".cuda()", "strict=False", "NotImplementedError", "weights_only=False"):
        assert habit not in text, f"{path}: {habit}"


def test_importing_only_defines():
    """No call with an effect stands at the top level of a module (entry scripts excepted)."""
    for path in SOURCES:
        if path.parent.name == "main" and path.stem in ("train", "test", "demo"):
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            effect = isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
            assert not effect, f"{path}:{node.lineno} does something when imported"


def test_programs_of_tool_are_imported_by_no_other_code():
    """What several tools need lies in common/ or in a module of their family that is no program."""
    programs = set()
    for path in (ROOT / "tool").rglob("*.py"):
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8"):
            programs.add(module_name(path))
    assert programs
    for path in (ROOT / "tool").rglob("*.py"):
        assert not imported(path) & programs, path
