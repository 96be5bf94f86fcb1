"""What hardening costs and gains, measured against stock Celery in the same run.

::

    python -m benchmarks                        # everything; quiet two cores: under 12 minutes
    python -m benchmarks throughput --quick     # one measure, small
    make bench ARGS="--quick"

Stock and hardened take turns, on servers started for nothing else from one and the same program; who begins
changes from round to round, so that a machine which grows slower favours neither. A number is the median over
the rounds; beneath it stand the least and the greatest. A ratio is that of the medians, hardened over stock;
beneath it the least and the greatest of the pairs, each made in one round.

Timed clients and their servers have a processor each, see :mod:`benchmarks.placement`; workers and theirs do not.

Each measure is a module with ``ABOUT``, what it does in a sentence or two, and ``measure(stage)``, which returns
rows. Whatever is timed runs in a process of its own. Those of stock Celery do not import ``hardening``, save that the
``celery`` command of a worker looks at the subcommands which this package installs, as any installed package may.
"""
