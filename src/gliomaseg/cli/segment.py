"""``gliomaseg segment`` and ``gliomaseg demo``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gliomaseg import RESEARCH_USE
from gliomaseg.cli import console
from gliomaseg.cli.choices import DEVICES, PRECISIONS, QUALITIES, SCHEMES, choice
from gliomaseg.cli.options import Json, Threads

if TYPE_CHECKING:
    from gliomaseg.storage.summary import Outcome

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
    mask: Annotated[
        Path | None, typer.Option(help="Brain mask of one raw exam, drawn on one of its sequences.")
    ] = None,
    no_strip: Annotated[
        bool, typer.Option("--no-strip", help="The images show the brain alone, whatever their background.")
    ] = False,
    native: Annotated[
        str, typer.Option(help="Also a label map on the grid of each of these: t2f, t1n,t2w, or all.")
    ] = "",
    keep_standardised: Annotated[
        bool,
        typer.Option("--keep-standardised", help="Also write the images at 1 mm, brain mask and transforms."),
    ] = False,
    bids: Annotated[
        bool, typer.Option("--bids", help="Also write BIDS derivatives, into the folder bids of -o.")
    ] = False,
    json: Json = False,
) -> None:
    """Label every voxel of a case, or of each case in a folder.

    Exams from the scanner need no preparation: they are registered, skull-stripped and resampled.
    """
    from gliomaseg.cli.inputs import bids_folder, choose_cases, choose_sequences, with_mask
    from gliomaseg.cohort import segment_cases
    from gliomaseg.exams.standardise import ExamOptions
    from gliomaseg.labels import find_scheme
    from gliomaseg.segmenter import Segmenter

    scheme = find_scheme(labels)
    images = {"t1n": t1n, "t1c": t1c, "t2w": t2w, "t2f": t2f}
    cases = choose_cases(path, images, case_id, allow_missing=allow_missing)
    cases = with_mask(cases, mask) if mask else cases
    data_set = bids_folder(output, cases) if bids else None
    segmenter = Segmenter.load(
        model,
        force=force,
        keep_names=keep_names,
        maps=maps,
        exam=ExamOptions(not no_strip, choose_sequences(native), keep_standardised),
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
        if data_set and any(outcome.folder for outcome in outcomes):
            outcomes = _with_bids(outcomes, output, data_set)
    _report(outcomes, output, as_json=json)


def demo(
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the exam and its result.")
    ] = Path("demo-out"),
    raw: Annotated[
        bool,
        typer.Option("--raw", help="An exam from the scanner: four grids, with the skull; needs [raw]."),
    ] = False,
    threads: Threads = 0,
    json: Json = False,
) -> None:
    """Segment the embedded synthetic exam (a phantom, not a patient)."""
    from gliomaseg.cases.find import find_case
    from gliomaseg.cohort import segment_cases
    from gliomaseg.segmenter import Segmenter

    with console.progress() as progress:
        progress(0, "making the synthetic exam")
        case = find_case(_write_exam(output / "exam", raw=raw))
        segmenter = Segmenter.load(threads=threads)
        outcomes = list(segment_cases([case], segmenter, output, overwrite=True, progress=progress))
    _report(outcomes, output, as_json=json)


def _with_bids(outcomes: Sequence[Outcome], output: Path, data_set: Path) -> list[Outcome]:
    """Write BIDS derivatives, and return the outcomes: a case whose files there can't be written failed."""
    from gliomaseg.exchange.bids import write_bids

    failed = {written.case_id: written for written in write_bids(output, data_set) if written.error}
    console.echo(f"BIDS derivatives: {data_set}")
    known = [
        replace(outcome, state="failed", error=failed.pop(outcome.case_id).error)
        if outcome.case_id in failed and not outcome.error
        else outcome
        for outcome in outcomes
    ]
    return known + list(failed.values())


def _write_exam(folder: Path, *, raw: bool) -> Path:
    """Write the synthetic exam, prepared or ``raw``, and return its folder."""
    from gliomaseg.exams.register import require_greedy
    from gliomaseg.imaging.phantom import make_phantom, write_phantom
    from gliomaseg.imaging.phantom_raw import make_raw_exam, write_raw_exam

    if raw:
        require_greedy()  # before the work, not after it
        return write_raw_exam(make_raw_exam("full"), folder)
    return write_phantom(make_phantom("full"), folder)


def _report(outcomes: Sequence[Outcome], output: Path, *, as_json: bool) -> None:
    """Show the outcomes; raises SystemExit: 1 if all cases failed, 3 if some did."""
    if as_json:
        console.show_json([outcome.as_dict() for outcome in outcomes])
    else:
        _show_outcomes(outcomes, output)
    console.end(sum(outcome.error is not None for outcome in outcomes), len(outcomes))


def _show_outcomes(outcomes: Sequence[Outcome], output: Path) -> None:
    from gliomaseg.storage.result_folder import LABELS, REPORT
    from gliomaseg.storage.summary import SUMMARY

    done = [outcome for outcome in outcomes if outcome.folder]
    if len(outcomes) == 1 and done:
        console.show_table(_volumes(done[0]), title=f"{done[0].case_id} ({done[0].state})")
        console.echo(_quality(done[0]))
        console.echo(_where(done[0]))
    elif done:
        console.show_table([_HEADER, *map(_cells, outcomes)])
        has_reports = any((outcome.folder / REPORT).exists() for outcome in done if outcome.folder)
        what = f"reports: {output}/*/{REPORT}" if has_reports else f"label maps: {output}/*/{LABELS}"
        console.echo(f"{what}; table: {output / SUMMARY}")
        console.echo(f"next: gliomaseg report {output} -o cohort.html, or gliomaseg view {output}")
    for outcome in outcomes:
        for note in outcome.notes:
            console.echo(str(note))
        if outcome.error:
            console.echo(f"\n{outcome.case_id} {outcome.state}")
            console.show_error(outcome.error)
    if len(outcomes) > 1:
        states = [outcome.state for outcome in outcomes]
        known = ("done", "unchanged", "failed", "locked")
        console.echo(", ".join(f"{states.count(s)} {s}" for s in known if s in states))
    console.echo(RESEARCH_USE)


_HEADER = ["case", "state", "quality", "WT ml", "TC ml", "ET ml", "missing", "why"]


def _cells(outcome: Outcome) -> list[str]:
    """Return a case's cells under ``_HEADER``."""
    row = outcome.row()
    volumes = [_with_interval(row, region) for region in ("wt", "tc", "et")]
    why = row.get("reasons") or row.get("error")
    cells = [row["case"], row["state"], row.get("quality"), *volumes, row.get("missing"), why]
    return [str(cell or "") for cell in cells]


def _volumes(outcome: Outcome) -> list[list[str]]:
    """Return the volume of each label and region of one case, under a header."""
    found, row = outcome.measurements, outcome.row()
    labels = [[f"label {r['value']}", r["title"], f"{r['volume_ml']:.2f}"] for r in found["labels"]]
    regions = [[r["region"].upper(), r["title"], _with_interval(row, r["region"])] for r in found["regions"]]
    return [["region", "meaning", "volume ml (90 % interval)"], *labels, *regions]


def _with_interval(row: Mapping[str, object], region: str) -> str:
    """Return a volume in ml, and its 90 % interval if known."""
    names = ("volume_ml", "volume_low_ml", "volume_high_ml")
    volume, low, high = (row.get(f"{region}_{name}") for name in names)
    if volume is None:
        return ""
    return f"{volume:.2f}" + ("" if low is None else f" ({low:.2f} to {high:.2f})")


def _quality(outcome: Outcome) -> str:
    row = outcome.row()
    return f"quality: {row['quality']}" + f" ({row['reasons']})" * bool(row["reasons"])


def _where(outcome: Outcome) -> str:
    """Return where the result of one case is."""
    from gliomaseg.storage.result_folder import LABELS, OVERVIEW, REPORT

    folder = outcome.folder
    if folder is None or not folder.is_dir():
        return f"label map: {folder}"
    if (folder / REPORT).exists():
        return f"report: {folder / REPORT}; picture: {folder / OVERVIEW}"
    return f"label map: {folder / LABELS}"
