"""``gliomaseg segment`` and ``gliomaseg demo``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gliomaseg.cli import console, show
from gliomaseg.cli.choices import DEVICES, PRECISIONS, QUALITIES, SCHEMES, choice
from gliomaseg.cli.options import Json, Threads

Image = Annotated[Path | None, typer.Option(help="File of this sequence, instead of PATH.")]


class Only(StrEnum):
    """What may be written alone."""

    SEG = "seg"


def segment(
    path: Annotated[
        Path | None, typer.Argument(help="A case folder, a folder of cases, or a CSV list.")
    ] = None,
    *,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder for results, or x.nii.gz for the label map of one case."),
    ] = Path("out"),
    only: Annotated[
        Only | None, typer.Option(help="seg: omit report and pictures.", show_default=False)
    ] = None,
    t1n: Image = None,
    t1c: Image = None,
    t2w: Image = None,
    t2f: Image = None,
    case_id: Annotated[str | None, typer.Option("--id", help="Case id, with --t1n, --t1c ...")] = None,
    labels: Annotated[str, choice("--labels", SCHEMES, "Label scheme of the result.")] = "brats2021",
    model: Annotated[str, typer.Option(help="Bundle folder; default: the shipped model.")] = "shipped",
    quality: Annotated[
        str,
        choice(
            "--quality", QUALITIES, "fast: one pass; standard: second pass, +0.2 s; best: mirrored, +1.3 s."
        ),
    ] = "fast",
    threads: Threads = 0,
    precision: Annotated[
        str, choice("--precision", PRECISIONS, "auto: the fastest without a measured loss of Dice.")
    ] = "auto",
    device: Annotated[
        str, choice("--device", DEVICES, "cuda needs PyTorch; auto: cuda if available.")
    ] = "cpu",
    max_memory: Annotated[
        float | None, typer.Option(help="Memory limit in GB, kept by smaller windows; default: free memory.")
    ] = None,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Skip cases that the model was trained on.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing results.")] = False,
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="Accept missing sequences although some images are unknown."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Ignore failed content checks.")] = False,
    keep_names: Annotated[
        bool, typer.Option("--keep-names", help="Record the name of every input file, not only its hash.")
    ] = False,
    maps: Annotated[
        bool, typer.Option("--maps", help="Also write probability and entropy maps of each region.")
    ] = False,
    json: Json = False,
) -> None:
    """Label every voxel of a case, or of each case in a folder."""
    from gliomaseg.cli.inputs import choose_cases
    from gliomaseg.cohort import segment_cases
    from gliomaseg.labels import find_scheme
    from gliomaseg.segmenter import Segmenter

    scheme = find_scheme(labels)
    images = {"t1n": t1n, "t1c": t1c, "t2w": t2w, "t2f": t2f}
    cases = choose_cases(path, images, case_id, allow_missing=allow_missing)
    segmenter = Segmenter.load(
        model,
        force=force,
        keep_names=keep_names,
        maps=maps,
        quality=quality,
        threads=threads,
        precision=precision,
        device=device,
        max_memory_gb=max_memory,
    )
    if held_out:
        cases = segmenter.bundle.held_out(cases)
    with console.progress() as progress, console.resumable():
        outcomes = list(
            segment_cases(
                cases,
                segmenter,
                output,
                scheme=scheme,
                overwrite=overwrite,
                only="seg" if only else None,
                progress=progress,
            )
        )
    show.report(outcomes, output, as_json=json)


def demo(
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the exam and its result.")
    ] = Path("demo-out"),
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Segment the embedded synthetic exam (a phantom, not a patient)."""
    from gliomaseg.cases.find import find_case
    from gliomaseg.cohort import segment_cases
    from gliomaseg.imaging.phantom import make_phantom, write_phantom
    from gliomaseg.segmenter import Segmenter

    with console.progress() as progress:
        progress(0, "making the synthetic exam")
        case = find_case(write_phantom(make_phantom("full"), output / "exam"))
        segmenter = Segmenter.load(threads=threads)
        outcomes = list(segment_cases([case], segmenter, output, overwrite=True, progress=progress))
    show.report(outcomes, output, as_json=json)
