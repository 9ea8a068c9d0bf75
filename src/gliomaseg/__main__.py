"""``python -m gliomaseg``: the same as the command ``gliomaseg``."""

from gliomaseg.cli import main

if __name__ == "__main__":
    main()
