"""Cases on disk: find them by the names of their files, read them, and check them before any work.

- A new layout of a data set: a row in ``layouts``. ``folders`` walks the disk, ``search`` groups files into
  cases, ``dataset_json`` explains channels and labels, ``find`` is the entry point.
- CSV lists, read and written: ``csv_list``. Arrays in memory: ``arrays``.
- Reading: ``read`` validates and repairs the sequences of a case (``intensities``), ``sequences`` puts them
  on one grid, ``standardise`` on the 1 mm grid of the networks, with the way back.
- A new check of what the images show: ``content``, measured by ``coverage``, ``appearance``, ``alignment``.
- ``gliomaseg check``: ``check_cases``.
"""
