"""Lets `python -m pytransformer` do what the command `pytransformer` does."""

from __future__ import annotations

import sys

from pytransformer.cli import main

sys.exit(main())
