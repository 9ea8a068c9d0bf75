"""``gliomaseg doctor``: what this machine has, what will run on it, and whether it computes rightly."""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
import time
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

from gliomaseg import __version__
from gliomaseg.cases.find import find_case
from gliomaseg.errors import as_coded
from gliomaseg.imaging.phantom import make_phantom, write_phantom
from gliomaseg.inference import hardware
from gliomaseg.result import ROOM
from gliomaseg.segmenter import Segmenter
from gliomaseg.storage import files

#: What a case of 240 x 240 x 155 voxels needs, in bytes: docs/speed.md measured 0.71 GB.
_MEMORY = 1_000_000_000
#: The counts of the self-test may differ by this part of the largest one from those stored (in fp32): int8
#: differs by 0.003 from it, bf16 by 0.0004.
_TOLERANCE = 0.03


class Answer(NamedTuple):
    """One examined thing."""

    name: str
    state: Literal["ok", "warn", "fail"]
    found: str
    remedy: str = ""


def examine(folder: Path, *, threads: int = 0) -> list[Answer]:
    """Return the state of everything that a segmentation written to ``folder`` needs."""
    answers = [
        Answer("gliomaseg", "ok", f"{__version__}, Python {platform.python_version()}, {platform.system()}"),
        _processor(),
        _memory(),
        *_disk(folder),
    ]
    try:
        segmenter = Segmenter.load(threads=threads)
    except Exception as error:  # noqa: BLE001 (whatever is broken is what this is about)
        coded = as_coded(error)
        return [*answers, Answer("model", "fail", coded.what, coded.remedy)]
    engine = f"OpenVINO {version('openvino')}, {segmenter.engine.precision}"
    engine += f", {threads or hardware.cores()} threads, convolutions by "
    engine += ", ".join(f"{kernel} ({n})" for kernel, n in segmenter.engine.kernels().items())
    answers.append(Answer("engine", "ok", engine))
    answers.append(
        Answer("model", "ok", f"{segmenter.bundle.name}, sha256 {segmenter.bundle.sha256[:12]}...")
    )
    return [*answers, *_self_test(segmenter)]


def _processor() -> Answer:
    flags = [name for name in hardware.FEATURES if name in hardware.cpu_flags()]
    found = f"{hardware.cpu_name()}, {hardware.cores()} cores, {' '.join(flags) or 'instructions unknown'}"
    if hardware.cpu_flags() and "avx2" not in flags:
        return Answer("processor", "warn", found, "without AVX2 a case takes minutes")
    return Answer("processor", "ok", found)


def _memory() -> Answer:
    free = hardware.free_memory()
    if free is None:
        return Answer("memory", "ok", "unknown on this system; a case takes up to 1 GB")
    state: Literal["ok", "warn"] = "ok" if free > _MEMORY else "warn"
    return Answer(
        "memory", state, f"{free / 1e9:.1f} GB free; a case takes up to 1 GB", "close other programs"
    )


def _disk(folder: Path) -> list[Answer]:
    try:
        with files.draft_folder(folder) as draft:
            files.write_bytes(draft / "test", bytes(1 << 20))
        free = shutil.disk_usage(folder).free
    except Exception as error:  # noqa: BLE001
        coded = as_coded(error)
        return [Answer("writing", "fail", coded.what, "choose a folder that can be written to with -o")]
    state: Literal["ok", "warn"] = "ok" if free > ROOM else "warn"
    found = f"{free / 1e9:.1f} GB free; a case takes up to {ROOM / 1e6:.0f} MB"
    return [
        Answer("writing", "ok", "1 MB written, synced and removed"),
        Answer("disk", state, found, "free some"),
    ]


def _self_test(segmenter: Segmenter) -> list[Answer]:
    stored = json.loads((resources.files("gliomaseg") / "assets" / "self-test.json").read_text("utf-8"))
    try:
        counts, seconds = segment_phantom(segmenter)
    except Exception as error:  # noqa: BLE001
        coded = as_coded(error)
        return [Answer("self-test", "fail", f"{coded.code}: {coded.what}", coded.remedy)]
    case = Answer("a case", "ok", f"takes about {seconds:.1f} s on this machine, once the engine is started")
    shown = ", ".join(f"{name.upper()} {count}" for name, count in counts.items())
    if stored["model"] != segmenter.bundle.sha256:
        remedy = "install gliomaseg again: its model and its test don't belong together"
        return [
            case,
            Answer("self-test", "warn", f"{shown} voxels, but none are stored for this model", remedy),
        ]
    expected: dict[str, int] = stored["voxels"]
    away = max(abs(counts[name] - expected[name]) for name in expected) / max(expected.values())
    found = f"{shown} voxels in the synthetic exam, {away:.1%} from what is stored ({_TOLERANCE:.0%} allowed)"
    if away > _TOLERANCE:
        remedy = "results on this machine can't be trusted: report it with this table"
        return [case, Answer("self-test", "fail", found, remedy)]
    return [case, Answer("self-test", "ok", found)]


def segment_phantom(segmenter: Segmenter) -> tuple[dict[str, int], float]:
    """Return the voxels of WT, TC and ET that the model finds in the synthetic exam, and the seconds."""
    with tempfile.TemporaryDirectory() as folder:
        case = find_case(write_phantom(make_phantom("full"), Path(folder)))
        segmenter.engine.compile()
        started = time.perf_counter()
        result = segmenter.segment(case)
        result.save(Path(folder, "out"))
        seconds = time.perf_counter() - started
    return {size.region.value: size.voxels for size in result.measurements.regions}, seconds


def as_dict(answers: list[Answer]) -> dict[str, Any]:
    """Return the answers as plain values, for JSON."""
    return {"ok": all(a.state != "fail" for a in answers), "answers": [a._asdict() for a in answers]}
