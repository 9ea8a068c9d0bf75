"""A trained model on disk, self-contained and safe to open.

A folder with model.xml and model.bin (OpenVINO IR), settings.json (the resolved settings), card.md
(what it is and how good) and bundle.json (about it, and the SHA-256 of each file). It may hold the same
network in 8-bit numbers too, int8.xml and int8.bin, and says what that costs in Dice; as ONNX; and the
weights for PyTorch, weights.safetensors. No pickle.
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

#: Changes when older versions of gliomaseg can't read a new bundle any more.
FORMAT = 1
MEMBERS = ("model.xml", "model.bin", "settings.json", "card.md")
#: The network in 8-bit numbers, which a bundle may hold too.
INT8 = ("int8.xml", "int8.bin")
#: The weights as PyTorch knows them, for a GPU and to train on from; the network as ONNX, for other programs.
WEIGHTS = "weights.safetensors"
ONNX = "model.onnx"
#: Members that no result on a CPU depends on.
_NO_PART = ("card.md", WEIGHTS, ONNX)
#: What else a bundle may hold, by the word that says so in what it tells about itself.
_OPTIONAL = {"int8": INT8, "weights": (WEIGHTS,), "onnx": (ONNX,)}
#: int8 is used unasked only if the mean Dice of no region falls by more than this on held-out cases.
INT8_TOLERANCE = 0.002
_SHIPPED = "shipped"


@dataclass(frozen=True)
class Bundle:
    """A trained model: where it lies, its settings, its hash and what it says of itself."""

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
        """Return whether the network is there in 8-bit numbers too."""
        return "int8" in self.about

    @property
    def int8_is_as_good(self) -> bool:
        """Return whether int8 was measured, on held-out cases, to lose no more than INT8_TOLERANCE."""
        change = self.about["int8"]["dice_change"] if self.has_int8 else None
        return change is not None and min(change.values()) >= -INT8_TOLERANCE

    @property
    def supports_missing_sequences(self) -> bool:
        """Return whether sequences were left out in training, so that the network bears missing ones."""
        return self.settings.augment.drop_modality > 0

    def expected_dice(self, sequences: Sequence[Modality]) -> dict[str, float]:
        """Return each region's mean Dice with ``sequences`` on held-out cases; {} if not measured."""
        return dict(self.about.get("expected", {}).get("dice", {}).get(" ".join(sequences), {}))

    def missing_notes(self, case_id: str, sequences: Sequence[Modality]) -> tuple[Note, ...]:
        """Return a note of what is missing, and of how good the model is without it."""
        missing = [m for m in self.settings.network.modalities if m not in sequences]
        if not missing:
            return ()
        dice = self.expected_dice(sequences)
        scores = ", ".join(f"{region.upper()} {value:.2f}" for region, value in dice.items())
        expect = f"Dice to expect without: {scores}" if dice else "how good it is without was not measured"
        what = f"case {case_id} has no {', '.join(missing)}; the model did without"
        return (Note("W-MISSING", what, expect),)

    def held_out(self, cases: Sequence[Case]) -> list[Case]:
        """Return the cases that the model was not trained on; raises CaseError (E-NOCASE) if none."""
        seen = set(self.about["trained_on"])
        unseen = [case for case in cases if case.id not in seen]
        if unseen:
            return unseen
        raise CaseError(
            "E-NOCASE",
            f"{self.name} was trained on all {len(cases)} cases",
            expected="at least one case that the model has not seen",
            remedy="give other cases, or leave out --held-out",
        )

    def network(self, precision: str) -> Path:
        """Return the path of the network's OpenVINO IR; raises ModelError if there is none in int8."""
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
        """Return the bundle in a folder, or the shipped one, after comparing every file's hash.

        Raises ModelError (E-MODEL).
        """
        folder = shipped_folder() if str(model) == _SHIPPED else Path(model)
        record = _read_record(folder)
        for name, digest in record["files"].items():
            _verify(folder / name, digest)
        return cls(folder, _read_settings(folder), _digest(record["files"]), record["about"])


def shipped_folder() -> Path:
    """Return where the model that comes with gliomaseg lies."""
    return Path(str(resources.files("gliomaseg") / "assets" / "model"))


def seal(folder: Path, about: Mapping[str, Any]) -> Bundle:
    """Write bundle.json last, over the other members of a bundle in the making, and return it."""
    members = _members(about)
    hashes = {name: files.sha256_of(folder / name) for name in members}
    files.write_json(folder / "bundle.json", {"format": FORMAT, "about": dict(about), "files": hashes})
    return Bundle.load(folder)


def _members(about: Mapping[str, Any]) -> list[str]:
    optional = [name for word, names in _OPTIONAL.items() if word in about for name in names]
    return [*MEMBERS, *optional]


def _read_record(folder: Path) -> dict[str, Any]:
    path = folder / "bundle.json"
    try:
        record = files.read_json(path)
        known, members = record["format"], set(dict(record["files"]))
        _prove_about(record["about"])
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


def _prove_about(about: object) -> None:
    """Raise KeyError, TypeError or ValueError where what a bundle says of itself can't be understood."""
    if not isinstance(about, dict) or not {"name", "trained_on"} <= about.keys():
        raise KeyError("it does not say what the model is called and was trained on")
    ids = about["trained_on"]
    if not isinstance(ids, list) or not all(isinstance(case_id, str) for case_id in ids):
        raise ValueError("trained_on is no list of case ids")
    for name, part in (("int8", "dice_change"), ("expected", "dice"), ("weights", "")):
        found = about.get(name, {})
        inner = found.get(part) if isinstance(found, dict) else []
        if not isinstance(inner, dict | None):
            raise TypeError(f"{name} is not what gliomaseg export writes")


def _read_settings(folder: Path) -> Settings:
    try:
        return parse_settings(files.read_json(folder / "settings.json"))
    except (OSError, SettingsError, ValueError) as error:
        raise ModelError(
            "E-MODEL",
            f"{folder} has settings that this version does not know: "
            + (error.what if isinstance(error, SettingsError) else str(error)),
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
    """Return one hash of the members that decide a result; the others describe it or are for other uses."""
    text = "\n".join(f"{name} {hashes[name]}" for name in sorted(hashes) if name not in _NO_PART)
    return hashlib.sha256(text.encode()).hexdigest()


def _bad(what: str) -> ModelError:
    return ModelError(
        "E-MODEL",
        what,
        expected="a folder with " + ", ".join((*MEMBERS, "bundle.json")),
        remedy="export the model again with: gliomaseg export RUN -o FOLDER; for the shipped model, "
        "install gliomaseg again",
    )
