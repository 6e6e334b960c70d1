"""The program: `batchkms`, or `python -m batchkms`."""

import signal


def run() -> None:
    """Runs the command line and exits."""
    # While it is being loaded an interrupt ends it at once; `main` takes it from there.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from batchkms.cli.main import main

    main()


if __name__ == "__main__":
    run()
