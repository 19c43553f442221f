"""The trainers: `python -m lactok.train`."""
