"""Commands about this machine: how fast our work is on it, beside others'."""

import argparse
import sys

from jielong.cli.options import Add


def add_commands(add: Add) -> None:
    """The commands of this module."""
    bench = add("bench", "the benchmarks of a checkout, each beside its peers", _bench)
    bench.add_argument("name", nargs="?", metavar="NAME", help="which; without it, all are listed")
    bench.add_argument(
        "options", nargs=argparse.REMAINDER, metavar="...", help="its own options, such as --help"
    )


def _bench(arguments: argparse.Namespace) -> None:
    from jielong.core.benchmarks import benchmarks, run_benchmark

    if arguments.name is not None:
        run_benchmark(arguments.name, arguments.options)
        return
    found = benchmarks()
    longest = max(map(len, found), default=0)
    for name, summary in found.items():
        sys.stdout.write(f"{name:{longest}}  {summary}\n")
