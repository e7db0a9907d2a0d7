"""`python -m chatq`: the commands of the shell."""

from __future__ import annotations

import argparse
import sys

from . import __version__, doctor


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status; without a command, print the help."""
    parser = argparse.ArgumentParser(prog="python -m chatq", description="Tools around chatq.")
    parser.add_argument("--version", action="version", version=f"chatq {__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="<command>")
    # A command imports what it needs when it runs: `doctor` has to work where nothing is installed.
    command = commands.add_parser(
        "doctor", help="say what is needed here, what is missing, and how to mend it"
    )
    command.set_defaults(run=lambda _: doctor.run())
    given = sys.argv[1:] if arguments is None else arguments
    serve = commands.add_parser(
        "serve", help="serve durable queues over Socket.IO: a hub in a process of its own"
    )
    if given[:1] == ["serve"]:
        from .hub.serve import add_arguments, run

        add_arguments(serve)
        serve.set_defaults(run=run)
    queues = commands.add_parser(
        "queues", help="look into queues: what waits, what is dead, what became of a message"
    )
    if given[:1] == ["queues"]:
        from .hub.queues_command import add_arguments as add_queues
        from .hub.queues_command import run as run_queues

        add_queues(queues)
        queues.set_defaults(run=run_queues)
    progress = commands.add_parser(
        "progress", help="try the answers in learners' notebooks: who has solved which exercise"
    )
    if given[:1] == ["progress"]:
        from .course.progress import add_arguments as add
        from .course.progress import run as run_progress

        add(progress)
        progress.set_defaults(run=run_progress)
    replay = commands.add_parser(
        "replay", help="write the scene of a journal as one HTML file, to be stepped through"
    )
    if given[:1] == ["replay"]:
        from .views.replay_command import add_arguments as add_options
        from .views.replay_command import run as run_replay

        add_options(replay)
        replay.set_defaults(run=run_replay)
    chosen = parser.parse_args(given)
    if chosen.run is None:
        parser.print_help()
        return 0
    status: int = chosen.run(chosen)
    return status


if __name__ == "__main__":
    sys.exit(main())
