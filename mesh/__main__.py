"""`python -m mesh` is `fleet`."""

from mesh.cli import main

if __name__ == "__main__":
    main()
