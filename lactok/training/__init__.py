"""The trainers of this project's models, run by `python -m lactok.train`."""
