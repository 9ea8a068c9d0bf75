# ruff: noqa: E501 (the sentences of a page)
"""The page docs/speed.md and its plot, from what speed.py measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write(found: dict[str, Any], docs: Path) -> None:
    """Write speed.md, and the plot of growth if that was measured."""
    lines = ["# Speed", ""]
    for name, section in SECTIONS.items():
        if name in found:
            lines += [*section(found[name]), _when(found[name]), ""]
    (docs / "speed.md").write_text("\n".join(lines), encoding="utf-8")
    if "growth" in found:
        _plot(found["growth"], docs / "speed-growth.png")


def _is_busy(section: dict[str, Any]) -> bool:
    return bool(section["measured"]["load before"] > 2)


def _when(section: dict[str, Any]) -> str:
    about = section["measured"]
    return f"\nMeasured on {about['date']}; load on the two cores before: {about['load before']}."


def _cold(s: dict[str, Any]) -> list[str]:
    about, least = s["machine"], s["rooflines"]
    without = s["total"] - s["seconds"]["picture"]
    wall = (
        f"**{s['total']:.2f} s** ({s['least']:.2f} to {s['most']:.2f}; {without:.2f} s without drawing the "
        "picture), "
    )
    rows = [
        f"| {stage} | {seconds:.3f} | {f'{least[stage]:.3f}' if stage in least else ''} |"
        for stage, seconds in s["seconds"].items()
    ]
    table = [
        "",
        "| stage | seconds | roofline |",
        "|---|---|---|",
        *rows,
        "",
        "Floors: the files' bytes over the measured rate of inflating, on all cores; the network's operations over the "
        "rate that the engine's own convolution reaches here. The network is compiled while the files are read: "
        "`compile` is what is left to wait for. The report's volumes are packed while the picture is drawn, and the "
        "picture is compressed while the rest of the report is made. `start-up` is what the stages don't hold: the "
        "interpreter, imports, opening the model, the last record, the end of the process.",
        "",
        "What keeps `infer` from its roofline, in the engine's own account of a run: the first convolution stays in bf16 "
        "(a quarter of the time that all convolutions take; in int8 it would be a quarter of that, but the labels of the "
        "12 held-out cases lose 0.1 points of Dice for TC), blocks of voxels are turned into channels and back, and the first "
        "run of a shape makes its kernels and maps its memory.",
        "",
        f"`import gliomaseg` takes {s['import']:.2f} s, `gliomaseg --help` {s['help']:.2f} s.",
    ]
    busy = ["", "Other work ran on both cores meanwhile: on a quiet machine seconds are fewer."]
    return [
        "## One case, from the command to the files",
        "",
        f"{wall}**{s['processor']:.1f} s** of processor time on all cores together, peak memory "
        f"**{s['peak_memory_mb']:.0f} MB**: medians of fresh processes, case `{s['case']}`, 240x240x155 voxels, picture and "
        f"report included, on {about['cores']} cores of {about['processor']} ({' '.join(about['features'])}), "
        f"{about['precision']}.",
        "",
        "    python benchmarks/stages.py CASE",
        *table,
        *(busy if _is_busy(s) else []),
    ]


def _warm(s: dict[str, Any]) -> list[str]:
    return [
        "## A loop in one process",
        "",
        f"**{s['median']:.2f} s** a case, picture and files included: median of {s['cases']} cases, one after the other.",
    ]


def _cohort(s: dict[str, Any]) -> list[str]:
    n = s["cases"]
    return [
        "## A cohort",
        "",
        "| 51 cases | seconds | cases per minute | one command is faster by |".replace("51", str(n)),
        "|---|---|---|---|",
        f"| one command, stages overlapping | {s['together']:.0f} | {60 * n / s['together']:.0f} | |",
        f"| a loop in one process | {s['loop']:.0f} | {60 * n / s['loop']:.0f} | {s['loop'] / s['together']:.2f} |",
        f"| a command for each | {s['each']:.0f} | {60 * n / s['each']:.0f} | {s['each'] / s['together']:.2f} |",
        "",
        "Against a command for each case, that is what one command saves. Against a loop in one process it saves less: the "
        "network keeps all cores busy by itself, so that only the rest can overlap.",
    ]


def _endurance(s: dict[str, Any]) -> list[str]:
    return [
        "## Memory",
        "",
        f"Peak of one command: {s['1']:.0f} MB for 1 case, {s['5']:.0f} MB for 5, {s['100']:.0f} MB for 100.",
    ]


def _agreement(s: dict[str, Any]) -> list[str]:
    rows = [
        f"| {pair} | "
        + " | ".join(f"{m:.4f} ({low:.3f})" for m, low in zip(mean, s["least"][pair], strict=True))
        + " |"
        for pair, mean in s["mean"].items()
    ]
    return [
        "## Do the ways agree?",
        "",
        f"Dice between label maps of the {s['cases']} held-out cases of a fold: mean (least).",
        "",
        "| | WT | TC | ET |",
        "|---|---|---|---|",
        *rows,
        "",
        "How good each precision is against the references: [accuracy](accuracy.md). Windows are used "
        "only where memory is short (`--max-memory`) or the brain is larger than 12 million voxels. They can't give the very "
        "labels of one window: a voxel was seen to change probabilities up to 89 voxels away, so that a window would have to "
        "be larger than its part of the brain by that at each cut: about as large as the brain. Steeper weights and an "
        "overlap of a half instead of a quarter change the Dice by 0.001 (6 cases). The difference is "
        "largest in the cases in which the network is unsure. The same command gives the same bytes (a test).",
    ]


def _growth(s: dict[str, Any]) -> list[str]:
    sizes = [f"| {side}^3 | {sec:.1f} | {mb / 1000:.2f} GB |" for side, (sec, mb) in s["sizes"].items()]
    threads = [f"| {count} | {sec:.2f} | {mb / 1000:.2f} GB |" for count, (sec, mb) in s["threads"].items()]
    return [
        "## How it grows",
        "",
        "![Seconds and memory over millions of voxels](speed-growth.png)",
        "",
        "Cold commands. Volumes: the synthetic exam on cubes of 1 mm voxels, one run each. Threads: the case above.",
        "",
        "| voxels | seconds | memory |",
        "|---|---|---|",
        *sizes,
        "",
        "| threads | seconds | memory |",
        "|---|---|---|",
        *threads,
        "",
        "Brains of more than 12 million voxels are cut into windows, and all of them where memory is short "
        "(`--max-memory`). Images of more than 512^3 voxels are refused from their header.",
    ]


def _peers(s: dict[str, Any]) -> list[str]:
    ours = s["gliomaseg"][0]
    rows = [
        f"| {name} | {sec:.1f} | {mb / 1000:.2f} GB | {sec / ours:.0f} |"
        for name, (sec, mb) in s.items()
        if name != "measured"
    ]
    return [
        "## Beside others",
        "",
        "The same case from four files to a written label map, two threads, one run of "
        "`sh benchmarks/peers/setup.sh; python benchmarks/speed.py DATA --only peers mirrored`.",
        "",
        "| | seconds | memory | times gliomaseg |",
        "|---|---|---|---|",
        *rows,
        "",
        "nnU-Net: its own predictor with the 31 million parameter network that it plans for BraTS. MONAI: the SegResNet and "
        "the windows of its BraTS bundle. Both with random weights, on PyTorch in fp32: time does not depend on "
        "weights. They are other networks than ours, so this compares what a user waits for, not engines. The bundle's own "
        "runner would take longer than this: it starts four readers, loads a checkpoint and inverts its transforms; its mixed "
        "precision is for CUDA and changes nothing on a CPU.",
    ]


def _mirrored(s: dict[str, Any]) -> list[str]:
    seconds, mb = s["nnU-Net with mirroring"]
    return [f"nnU-Net with mirroring, its default: {seconds:.0f} s, {mb / 1000:.2f} GB."]


def _plot(s: dict[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    voxels = [int(side) ** 3 / 1e6 for side in s["sizes"]]
    for axes, column, title in ((left, 0, "seconds"), (right, 1, "memory, GB")):
        values = [row[column] / (1000 if column else 1) for row in s["sizes"].values()]
        axes.plot(voxels, values, marker="o", color="#0072b2")
        axes.set(xlabel="million voxels", title=title, ylim=(0, None))
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


SECTIONS = {
    "cold": _cold,
    "warm": _warm,
    "cohort": _cohort,
    "endurance": _endurance,
    "agreement": _agreement,
    "growth": _growth,
    "peers": _peers,
    "mirrored": _mirrored,
}
