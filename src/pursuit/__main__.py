"""The command `pursuit`, also as `python -m pursuit`."""

import sys


def main() -> None:
    """Run the command line, or say what it lacks."""
    try:
        from .interrupts import stop_at_sigterm

        stop_at_sigterm()
        from .cli import main as run
    except ModuleNotFoundError as error:
        sys.exit(f"pursuit: {error.name} is not installed; run: pip install 'pursuit[cli]'")
    except KeyboardInterrupt as stop:
        from .interrupts import end

        sys.exit(end(stop))
    run()


if __name__ == "__main__":
    main()
