"""``fetchd`` and ``python -m fetchd``."""

import signal


def main() -> None:
    """Runs the command line. Ctrl-C while it is being loaded ends it without a word, as it ends other programs.

    Python's own handler would show where in the imports that was. ``fetchd.cli`` turns it on where there is something
    to be put in order. Where SIGINT is ignored, as in a shell's background, that stays so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from fetchd.cli import main as run  # noqa: PLC0415 - see above

    run()


if __name__ == "__main__":
    main()
