"""The command `mbvc`."""

import os
import signal
import sys


def main() -> None:
    from ._native import command

    # As in the program: Ctrl-C ends it at once, without Python's traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ.setdefault("MBVC_PYTHON", sys.executable)
    sys.exit(command(["mbvc", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
