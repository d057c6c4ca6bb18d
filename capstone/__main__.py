"""python -m capstone: get the real language model, talk with it, break it."""

import argparse
import sys

from capstone import chat, fetch, wrong


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m capstone", description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("fetch", help="get the model's file, 93 MB, once")
    command.set_defaults(run=lambda options: print(fetch.fetch()))
    command = commands.add_parser("chat", help="talk with the model")
    chat.add_options(command)
    command.set_defaults(run=chat.run)
    command = commands.add_parser("wrong", help="what one wrong function does to it")
    wrong.add_options(command)
    command.set_defaults(run=wrong.run)
    options = parser.parse_args()
    try:
        options.run(options)
    except fetch.NoModel as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
