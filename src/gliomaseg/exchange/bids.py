"""Write finished results as a BIDS data set of derivatives.

The folder ``anat`` of a case is written whole or not at all, and only if its content changed. Files in it
that were edited, and files of other programs, are never replaced. The result folders stay the source: after
a correction there, or an interruption, the same call again brings the data set up to date.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gliomaseg import RESEARCH_USE, __version__
from gliomaseg.cases.case import Case
from gliomaseg.errors import CaseError, OutputError, as_coded
from gliomaseg.exchange.bids_case import Raw, case_files, json_text, read_object
from gliomaseg.exchange.bids_labels import Labels, in_order, write_if_changed
from gliomaseg.storage import files
from gliomaseg.storage.guard import BROWSERS_OWN
from gliomaseg.storage.result_folder import ResultFolder
from gliomaseg.storage.summary import Outcome

#: The data set that ``gliomaseg segment --bids`` writes, in the folder of results.
FOLDER = "bids"
#: Seconds to wait for another process that finished its cases at the same time.
_PATIENCE = 60.0
_DESCRIPTION = "dataset_description.json"
#: Beside the files of a case: the SHA-256 of each. Validators pass over hidden files.
_RECORD = ".gliomaseg.json"
_README = f"""# Brain tumours, segmented by gliomaseg

{RESEARCH_USE}

A BIDS data set of derivatives. `*_desc-gliomaseg_dseg.nii.gz` is a label map on the grid of the sequence that
`space-` names. The table of the same name says what each value means, the sidecar which images and model it
was made from. `participants.tsv` and `*_sessions.tsv` hold the original ids. Transforms (`*_xfm.txt`) are no
part of BIDS yet and listed in `.bidsignore`.
"""
_EXPECTED = "a new folder, or a BIDS data set that gliomaseg wrote"


def write_bids(results: str | Path, output: str | Path) -> list[Outcome]:
    """Write the results of a folder as BIDS derivatives, and return the outcome of each case.

    ``results`` is a folder of case folders, as ``segment_cases`` writes it, or one case folder. ``output`` is
    a new data set, or an earlier one, to which cases are added. If a BIDS data set encloses it, as in
    ``DATA/derivatives/gliomaseg``, the sidecars name the images there.

        for outcome in gliomaseg.write_bids("out", "DATA/derivatives/gliomaseg"):
            print(outcome.case_id, outcome.state, outcome.folder)

    A case is ``done``, ``unchanged``, or ``failed``: E-REPORT for a damaged result, E-EXISTS if its files in
    ``output`` were edited. The others go on. Raises CaseError (E-NOCASE) if there is no result, OutputError
    (E-EXISTS, E-OUTPUT, E-PERM, E-DISK, E-LOCKED) if ``output`` can't be such a data set.
    """
    found = {folder.path.name: folder for folder in _results(Path(results).absolute())}
    root = Path(output)
    require_bids(root)
    files.make_folder(root)
    with _claimed(root):
        files.clear_leftovers(root)
        raw = Raw.around(root)
        _describe(root, raw)
        labels = Labels(root)
        outcomes = [_outcome(found[case_id], root, labels, raw) for case_id in in_order(found)]
        labels.write()
    return sorted(outcomes, key=lambda outcome: outcome.case_id)


def require_bids(root: Path, cases: Sequence[Case] = ()) -> None:
    """Raise OutputError unless ``root`` is new, empty, or a data set that gliomaseg wrote.

    E-EXISTS for anything else; E-OUTPUT inside a result, and where one of ``cases`` will have its result.
    """
    same = any(case.id.casefold() == root.name.casefold() for case in cases)
    if same or any(ResultFolder(folder).is_result() for folder in (root, *root.absolute().parents)):
        raise OutputError(
            "E-OUTPUT",
            f"{root} can't become a BIDS data set: it is for the result of a case",
            expected=_EXPECTED,
            remedy="give the case another id" if same else "choose a folder outside the results",
        )
    try:
        names = sorted({path.name for path in root.iterdir()} - BROWSERS_OWN) if root.exists() else []
    except OSError as error:
        raise files.output_error(error, root) from error
    if not _is_ours(root) and any(name[0] != "." for name in names):  # hidden: the draft of a killed process
        raise OutputError(
            "E-EXISTS",
            f"{root} holds files that are no BIDS data set of gliomaseg: {', '.join(names[:3])}",
            expected=_EXPECTED,
            remedy="choose another folder, or move these files away",
        )


@contextmanager
def _claimed(root: Path) -> Iterator[None]:
    """Keep other processes from writing ``root``, after waiting for one that does; raises E-LOCKED."""
    until = time.monotonic() + _PATIENCE
    with ExitStack() as lock:
        while True:
            try:
                lock.enter_context(files.claim(root))
                break
            except OutputError as error:
                if error.code != "E-LOCKED" or time.monotonic() >= until:
                    raise
            time.sleep(0.2)
        yield


def _is_ours(root: Path) -> bool:
    makers = (read_object(root / _DESCRIPTION) or {}).get("GeneratedBy")
    named = makers if isinstance(makers, list) else []
    return any(isinstance(maker, dict) and maker.get("Name") == "gliomaseg" for maker in named)


def _results(path: Path) -> list[ResultFolder]:
    """Return the result in a folder, or those in the folders below it."""
    below = sorted(path.iterdir()) if path.is_dir() else []
    found = [folder for folder in map(ResultFolder, (path, *below)) if folder.is_result(damaged=True)]
    if not found:
        raise CaseError(
            "E-NOCASE",
            f"there is no result of gliomaseg in {path}",
            expected="a folder of results, as gliomaseg segment writes it",
            remedy="give the folder that was named with -o",
        )
    return found


def _describe(root: Path, raw: Raw | None) -> None:
    """Write what describes the data set: keys that others added stay, and so do files that are there."""
    own = {
        "Name": "Brain tumours, segmented by gliomaseg",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "gliomaseg", "Version": __version__, "Description": RESEARCH_USE}],
    }
    links = {"DatasetLinks": {"raw": raw.link}, "SourceDatasets": [{"URL": "bids:raw:"}]} if raw else {}
    path = root / _DESCRIPTION
    write_if_changed(path, json_text((read_object(path) or {}) | own | links))
    for name, text in {"README.md": _README, ".bidsignore": "*_xfm.txt\n"}.items():
        if not (root / name).exists():
            files.write_text(root / name, text)


def _outcome(folder: ResultFolder, root: Path, labels: Labels, raw: Raw | None) -> Outcome:
    name = folder.path.name
    try:
        stem = labels.of(name).stem
        target = root / stem.replace("_", "/") / "anat"
        is_new = _write_case(target, case_files(folder, stem, raw))
    except Exception as error:  # noqa: BLE001 (the other cases go on after any error)
        return Outcome(name, "failed", error=as_coded(error))
    return Outcome(name, "done" if is_new else "unchanged", target)


def _write_case(target: Path, wanted: Mapping[str, bytes]) -> bool:
    """Write the files of a case, and return whether they changed; raises OutputError."""
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in wanted.items()}
    found = _hashes(target)
    if found == hashes:
        return False
    known = (read_object(target / _RECORD) or {}).get("files")
    known = known if isinstance(known, dict) else {}
    if others := sorted(name for name, digest in found.items() if known.get(name) != digest):
        raise OutputError(
            "E-EXISTS",
            f"{target} holds files that were edited, or not written by gliomaseg: {', '.join(others[:3])}",
            expected="the files as gliomaseg wrote them",
            remedy="move them away to keep them, then give the same command again; to correct a label map, "
            "edit that of the result folder, from which this one is made",
        )
    files.make_folder(target.parent)
    files.clear_leftovers(target.parent)
    with files.open_folder(target) as draft:
        for name, content in wanted.items():
            (draft / name).write_bytes(content)
        files.write_json(draft / _RECORD, {"files": hashes})
    return True


def _hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file in a folder; a folder in it has none. Raises OutputError."""
    try:
        paths = list(folder.iterdir()) if folder.exists() else []
        known = {path.name: path for path in paths if path.name not in BROWSERS_OWN | {_RECORD}}
        return {name: files.sha256_of(path) if path.is_file() else "" for name, path in known.items()}
    except OSError as error:
        raise files.output_error(error, folder) from error
