"""The commands, one file each: what it says of itself, its arguments, and a function that calls the library and prints.

A command's module has ``DESCRIPTION``, ``EXAMPLES``, ``add_arguments(parser)``, ``run(options)``, which returns what
``--json`` prints, and, where a stopped command leaves something, ``leaves(options)``; one with ``--fail-on-findings``
has ``found(result)``. It is imported only when it is asked for.
"""
