"""Raw phantoms: the movements that the headers don't know are found again."""

from __future__ import annotations

import numpy as np
import pytest
from nibabel.affines import apply_affine

from gliomaseg.exams.register import register
from gliomaseg.imaging.phantom_raw import make_raw_exam
from gliomaseg.labels import Modality

pytest.importorskip("picsl_greedy")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_every_sequence_is_brought_onto_t1c(seed: int) -> None:
    """Residual over the brain: mean at most 1 mm, nowhere more than 2 mm; the headers are off by far more."""
    exam = make_raw_exam("full", seed=seed)
    brain = apply_affine(exam.reference.grid.affine, np.argwhere(exam.brain)[::50])
    for modality in (Modality.T1N, Modality.T2W, Modality.T2F):
        found = register(exam.images[Modality.T1C], exam.images[modality])
        truth = apply_affine(exam.moves[modality], brain)
        wrong = np.linalg.norm(apply_affine(found.matrix, brain) - truth, axis=1)
        assert wrong.mean() <= 1, modality
        assert wrong.max() <= 2, modality
        assert np.linalg.norm(brain - truth, axis=1).mean() > 2
