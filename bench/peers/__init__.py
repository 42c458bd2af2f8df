"""The engines that `compare_engines.py` compares, one module each, behind one interface.

A module has `open_engine(settings)`. It runs in the interpreter that has the engine's package,
which may be another version of Python, so modules here import nothing else than that package, what
comes with it, and `peers.engine`.
"""
