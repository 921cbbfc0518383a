"""`python -m kaito`: the same as the `kaito` command."""

from kaito.cli import main

if __name__ == "__main__":
    main()
