"""Where the built program starts: the command line, whose first word may be `gui`."""

import multiprocessing
import sys

if __name__ == "__main__":
    # In a built program each child process starts here too.
    multiprocessing.freeze_support()
    from var_studio.cli import main

    sys.exit(main())
