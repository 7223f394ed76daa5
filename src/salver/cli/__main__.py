"""The command `salver`, whose verbs are in `salver.cli.app`."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point; the exit status and the one line on stderr are those of `call`.

    The verbs are imported here, since that takes longest and may be interrupted too.
    """
    try:
        from salver.cli.app import app
        from salver.cli.calling import call

        status = call(app)
    except KeyboardInterrupt:
        from salver.core.command_line import tell_interruption

        status = tell_interruption(sys.argv[1:])
    sys.exit(status)


if __name__ == "__main__":
    main()
