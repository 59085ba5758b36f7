"""`python -m medal`: the same as `medal`."""

from medal.cli import main

if __name__ == "__main__":
    main()
