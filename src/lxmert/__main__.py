"""`python -m lxmert`: the command line, where the command `lxmert` is not on the path."""

from lxmert.cli.main import main

if __name__ == "__main__":
    main(program="python -m lxmert")
