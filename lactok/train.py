"""`python -m lactok.train`: the trainers, see `lactok.training`."""

from lactok.training.__main__ import main

if __name__ == "__main__":
    main()
