"""``python -m fetchd``."""

from fetchd.cli import main

if __name__ == "__main__":
    main()
