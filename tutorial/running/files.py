"""The files that a command names: kernels named after their stages, and a reader's own inputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nkisim.machine import narrow

from .. import stage
from . import problems


def named_after_stages(names: Sequence[str]) -> list[tuple[stage.Stage, Path]]:
    """The files of these names, or in folders of these names (none: the worked solutions), each
    with the stage whose number its name begins with. Raises StageError for a file of another
    name."""
    lessons = stage.stages()
    if not names:
        folder = stage.solutions_folder()
        if folder is None:
            raise stage.StageError(
                "There is no folder 'solutions' here: name the files to check, e.g. "
                "stage3_online_softmax.py."
            )
        names = [str(folder)]
    files: list[Path] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            files += [path / f"{s.file_name}.py" for s in lessons]
        else:
            files.append(path)
    pairs = []
    for path in files:
        own = [
            s
            for s in lessons
            if path.stem == s.file_name or path.stem.split("_")[0] == f"stage{s.number}"
        ]
        if not own:
            raise stage.StageError(
                f"{path} is not named after a stage; use 'check STAGE {path}', or name it like "
                f"{lessons[-1].file_name}.py."
            )
        pairs.append((own[0], path))
    return pairs


def arrays_of(path: str | None) -> dict[str, Any] | None:
    """The arrays of an .npz file by name; single numbers come out as numbers. None without a path.
    Raises Unusable for a file that cannot be read."""
    if path is None:
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not hasattr(archive, "files"):
                raise problems.Unusable(
                    f"{path} holds one array; save the inputs by name with numpy.savez."
                )
            arrays = {name: archive[name] for name in archive.files}
            # NumPy's file format does not know bfloat16: it comes back as 2 bytes without a type
            arrays = {
                name: x.view(narrow.bfloat16) if x.dtype == np.dtype("V2") else x
                for name, x in arrays.items()
            }
            return {name: x if x.ndim else x.item() for name, x in arrays.items()}
    except problems.Unusable:
        raise
    except Exception as error:
        raise problems.Unusable(
            f"{path} is not an .npz file that can be read: {problems.one_line(error)}"
        ) from error
