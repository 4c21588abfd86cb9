"""Which files a result can be saved as. No torch here: a mistyped name is told at once."""

from collections.abc import Collection

from common.utils.errors import UserError

KINDS = ("overlay", "skeleton", "views", "obj", "ply", "glb", "npz", "json")


def known_kinds(kinds: Collection[str]) -> tuple[str, ...]:
    """Those of KINDS; UserError on what is none."""
    unknown = set(kinds) - set(KINDS)
    if unknown:
        raise UserError(f"cannot save {', '.join(sorted(unknown))}: there are {', '.join(KINDS)}")
    return tuple(kind for kind in KINDS if kind in kinds)
