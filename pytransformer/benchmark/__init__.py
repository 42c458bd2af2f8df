"""Measures the engine on this machine: `pytransformer bench`.

Nothing else imports this package, so that a translation starts without it. :mod:`.session` runs a
benchmark from its settings to its result; what the result holds is defined in :mod:`.machine` (what
the machine can do), :mod:`.measure` (times), :mod:`.footprint` (load time and memory) and
:mod:`.stages` (where the time goes); :mod:`.report` and :mod:`.plot` show it. Other engines are
compared through :mod:`.peers`.
"""
