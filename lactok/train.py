"""`python -m lactok.train` runs the trainers; it is the short name of `python -m lactok.training`."""

from lactok.training.__main__ import main

if __name__ == "__main__":
    main()
