"""A trained model on disk, self-contained and safe to open.

A folder with model.xml and model.bin (OpenVINO IR), settings.json (the resolved settings), card.md (the model
card) and bundle.json (facts about the model, and the SHA-256 of each file). Optional are the network in 8-bit
numbers, int8.xml and int8.bin, with its measured change of Dice; the network as ONNX; and the weights for
PyTorch, weights.safetensors. Never a pickle.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gliomaseg.errors import CaseError, ModelError, Note, SettingsError
from gliomaseg.labels import Modality
from gliomaseg.settings.loading import parse_settings
from gliomaseg.settings.schema import Settings
from gliomaseg.storage import files

if TYPE_CHECKING:
    from gliomaseg.cases.case import Case

#: Increased when older versions of gliomaseg can no longer read a new bundle.
FORMAT = 1
MEMBERS = ("model.xml", "model.bin", "settings.json", "card.md")
#: The network in 8-bit numbers.
INT8 = ("int8.xml", "int8.bin")
#: The weights for PyTorch, for GPUs and further training; the network as ONNX, for other programs.
WEIGHTS = "weights.safetensors"
ONNX = "model.onnx"
#: Members that don't change a result on a CPU.
_INERT = ("card.md", WEIGHTS, ONNX)
#: Optional members, by their key in bundle.json's ``about``.
_OPTIONAL = {"int8": INT8, "weights": (WEIGHTS,), "onnx": (ONNX,)}
#: int8 is used automatically only if no region's mean Dice on held-out cases falls by more than this.
INT8_TOLERANCE = 0.002
_SHIPPED = "shipped"


@dataclass(frozen=True)
class Bundle:
    """A trained model: its folder, settings, hash, and the facts about it in bundle.json."""

    folder: Path
    settings: Settings
    sha256: str
    about: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Return the model's name."""
        return str(self.about["name"])

    @property
    def has_int8(self) -> bool:
        """Return whether the bundle contains the network in 8-bit numbers."""
        return "int8" in self.about

    @property
    def int8_is_as_good(self) -> bool:
        """Return whether int8 loses at most INT8_TOLERANCE, as measured on held-out cases."""
        change = self.about["int8"]["dice_change"] if self.has_int8 else None
        return change is not None and min(change.values()) >= -INT8_TOLERANCE

    @property
    def supports_missing_sequences(self) -> bool:
        """Return whether the network was trained with sequences left out."""
        return self.settings.augment.drop_modality > 0

    def expected_dice(self, sequences: Sequence[Modality]) -> dict[str, float]:
        """Return each region's mean Dice on held-out cases with ``sequences``; {} if not measured."""
        return dict(self.about.get("expected", {}).get("dice", {}).get(" ".join(sequences), {}))

    def missing_notes(self, case_id: str, sequences: Sequence[Modality]) -> tuple[Note, ...]:
        """Return a note on missing sequences, with the Dice to expect without them."""
        missing = [m for m in self.settings.network.modalities if m not in sequences]
        if not missing:
            return ()
        dice = self.expected_dice(sequences)
        scores = ", ".join(f"{region.upper()} {value:.2f}" for region, value in dice.items())
        expect = f"Dice to expect without: {scores}" if dice else "the Dice without was not measured"
        what = f"case {case_id} has no {', '.join(missing)}; it was segmented without"
        return (Note("W-MISSING", what, expect),)

    def held_out(self, cases: Sequence[Case]) -> list[Case]:
        """Return the cases that the model was not trained on; raises CaseError (E-NOCASE) for none."""
        seen = set(self.about["trained_on"])
        unseen = [case for case in cases if case.id not in seen]
        if unseen:
            return unseen
        raise CaseError(
            "E-NOCASE",
            f"{self.name} was trained on all {len(cases)} cases",
            expected="at least one case that the model was not trained on",
            remedy="give other cases, or leave out --held-out",
        )

    def network(self, precision: str) -> Path:
        """Return the network's OpenVINO IR; raises ModelError if there is none in int8."""
        if precision != "int8":
            return self.folder / "model.xml"
        if self.has_int8:
            return self.folder / INT8[0]
        raise ModelError(
            "E-MODEL",
            f"{self.name} has no network in int8",
            expected="a bundle exported with --int8",
            remedy="export the run again with --int8, or use --precision auto",
        )

    @classmethod
    def load(cls, model: str | Path = _SHIPPED) -> Bundle:
        """Return the bundle in a folder, or the shipped one, with all hashes verified; raises ModelError."""
        folder = shipped_folder() if str(model) == _SHIPPED else Path(model)
        record = _read_record(folder)
        for name, digest in record["files"].items():
            _verify(folder / name, digest)
        return cls(folder, _read_settings(folder), _digest(record["files"]), record["about"])


def shipped_folder() -> Path:
    """Return the folder of the model that comes with gliomaseg."""
    return Path(str(resources.files("gliomaseg") / "assets" / "model"))


def seal(folder: Path, about: Mapping[str, Any]) -> Bundle:
    """Write bundle.json, the last member of a new bundle, and return the bundle."""
    hashes = {name: files.sha256_of(folder / name) for name in _members(about)}
    files.write_json(folder / "bundle.json", {"format": FORMAT, "about": dict(about), "files": hashes})
    return Bundle.load(folder)


def _members(about: Mapping[str, Any]) -> list[str]:
    return [*MEMBERS, *(name for key, names in _OPTIONAL.items() if key in about for name in names)]


def _read_record(folder: Path) -> dict[str, Any]:
    path = folder / "bundle.json"
    try:
        record = files.read_json(path)
        known, members = record["format"], set(dict(record["files"]))
        _check_about(record["about"])
    except FileNotFoundError:
        raise _bad(f"there is no model bundle in {folder} (no bundle.json)") from None
    except NotADirectoryError:
        raise _bad(f"{folder} is a file, not a folder: a bundle is never packed") from None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise _bad(f"{path} can't be read: {error}") from error
    if known != FORMAT:
        raise ModelError(
            "E-MODEL",
            f"{folder} is a bundle of format {known}",
            expected=f"format {FORMAT}",
            remedy="upgrade gliomaseg, or export the model again with this version",
        )
    if members != set(_members(record["about"])):
        raise _bad(f"{path} lists {', '.join(sorted(members))}")
    return dict(record)


def _check_about(about: object) -> None:
    """Raise KeyError, TypeError or ValueError if bundle.json's ``about`` has another shape."""
    if not isinstance(about, dict) or not {"name", "trained_on"} <= about.keys():
        raise KeyError("name or trained_on is missing")
    ids = about["trained_on"]
    if not isinstance(ids, list) or not all(isinstance(case_id, str) for case_id in ids):
        raise ValueError("trained_on is not a list of case ids")
    for name, key in (("int8", "dice_change"), ("expected", "dice"), ("weights", "")):
        found = about.get(name, {})
        inner = found.get(key) if isinstance(found, dict) else []
        if not isinstance(inner, dict | None):
            raise TypeError(f"{name} is not what gliomaseg export writes")


def _read_settings(folder: Path) -> Settings:
    try:
        return parse_settings(files.read_json(folder / "settings.json"))
    except (OSError, SettingsError, ValueError) as error:
        reason = error.what if isinstance(error, SettingsError) else str(error)
        raise ModelError(
            "E-MODEL",
            f"{folder} has settings that this version can't read: {reason}",
            expected="the settings of a bundle made by this version of gliomaseg or an older one",
            remedy="upgrade gliomaseg, or export the model again with this version",
        ) from error


def _verify(path: Path, digest: str) -> None:
    if not path.is_file():
        raise _bad(f"{path} is missing")
    try:
        found = files.sha256_of(path)
    except OSError as error:
        raise _bad(f"{path} can't be read: {error.strerror}") from error
    if found != digest:
        raise _bad(f"{path} is not the file that the bundle was sealed with (its SHA-256 differs)")


def _digest(hashes: Mapping[str, str]) -> str:
    """Return one hash of the members that decide on a result."""
    text = "\n".join(f"{name} {hashes[name]}" for name in sorted(hashes) if name not in _INERT)
    return hashlib.sha256(text.encode()).hexdigest()


def _bad(what: str) -> ModelError:
    return ModelError(
        "E-MODEL",
        what,
        expected="a folder with " + ", ".join((*MEMBERS, "bundle.json")),
        remedy="export the model again with: gliomaseg export RUN -o FOLDER; for the shipped model, "
        "install gliomaseg again",
    )
