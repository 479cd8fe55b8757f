"""Labels to scorer directory: how the classifiers in `models/` are made and measured.

Needs the extra `emscore[distill]` (PyTorch and friends); nothing here is imported when scoring.
`emscore distill` runs it; `recipes/` says what makes the scorers that ship.
"""
