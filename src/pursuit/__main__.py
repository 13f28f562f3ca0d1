"""The command `pursuit`, also as `python -m pursuit`."""

import sys


def main() -> None:
    """Run the command line, or say what it lacks."""
    try:
        from .cli import main as run
    except ModuleNotFoundError as error:
        sys.exit(f"pursuit: {error.name} is not installed; run: pip install 'pursuit[cli]'")
    run()


if __name__ == "__main__":
    main()
