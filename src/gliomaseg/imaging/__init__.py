"""Images: arrays with a grid (``volume``), read from and written to files, resampled and prepared.

- Reading: ``nifti`` on the bytes of ``stored_file``; ``header`` and ``affine`` validate; ``foreign`` converts
  other formats, which ``formats`` recognises.
- Grids: ``resample``; ``prepare`` for networks (with ``bias_field``); ``planes`` for pictures.
- The synthetic exam: ``phantom`` and ``phantom_tumour``.
"""
