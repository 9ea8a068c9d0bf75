"""The trained networks of cross-validation, kept small enough to go with the code.

    python benchmarks/model/folds.py keep benchmarks/model/folds runs/fold0 runs/fold1 runs/fold2 runs/fold3
    python benchmarks/model/folds.py take benchmarks/model/folds runs

``keep`` writes each run's settings, split, log and averaged weights, in 8-bit numbers (4.6 MB for unet3d); of
A+B those of run A with the mean of its weights and those of run B, as cross_validation.py takes it.
``take`` makes runs of them again, in which cross_validation.py and ``gliomaseg train --init-from`` find all
that they need; the state of the optimiser is not kept, so that a run begins anew from the weights.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from safetensors.torch import save

from gliomaseg.storage import files
from gliomaseg.training.history import read_history
from gliomaseg.training.run import load_run, read_tensors, weights, write_tensors
from gliomaseg.training.trained import from_8_bits, in_8_bits, load_trained, read_initial

WEIGHTS = "weights.safetensors"
#: What else of a run is kept; initial.json is there only if it began with the weights of another.
ABOUT = ("settings.json", "split.json", "initial.json", "history.csv")


def main() -> None:
    """Keep or take."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    keeping = verbs.add_parser("keep")
    keeping.add_argument("folder", type=Path)
    keeping.add_argument("runs", nargs="+")
    keeping.set_defaults(do=lambda o: [keep(o.folder, *run.split("+")) for run in o.runs])
    taking = verbs.add_parser("take")
    taking.add_argument("folder", type=Path)
    taking.add_argument("runs", type=Path)
    taking.set_defaults(do=lambda o: [take(k, o.runs / k.name) for k in sorted(o.folder.iterdir())])
    options = parser.parse_args()
    options.do(options)


def keep(folder: Path, name: str, *others: str) -> None:
    """Write what is worth keeping of a run into ``folder``, averaged with ``others``."""
    run = load_run(Path(name))
    trained = load_trained([run], average_with=[read_initial(other) for other in others])
    kept = files.make_folder(folder / run.folder.name)
    _copy(run.folder, kept)
    write_tensors(kept / WEIGHTS, in_8_bits(weights(trained.networks[0])))


def take(kept: Path, folder: Path) -> None:
    """Make a run in ``folder`` of what was kept, if there is none yet."""
    if (folder / "checkpoint.safetensors").exists():
        return
    _copy(kept, files.make_folder(folder))
    stored = from_8_bits(read_tensors(kept / WEIGHTS))
    tensors = {f"{part}.{name}": t.clone() for part in ("network", "average") for name, t in stored.items()}
    last = read_history(folder / "history.csv").rows[-1]
    about = {"step": str(last.step), "seconds": repr(60 * last.minutes)}
    files.write_bytes(folder / "checkpoint.safetensors", save(tensors, metadata=about))


def _copy(source: Path, folder: Path) -> None:
    for name in ABOUT:
        if (source / name).exists():
            shutil.copy2(source / name, folder / name)


if __name__ == "__main__":
    main()
