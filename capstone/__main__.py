"""python -m capstone: get the real language model, and talk with it."""

import argparse
import sys

from capstone import fetch


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m capstone", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch", help="get the model's file, 93 MB, once")
    chat_parser = commands.add_parser("chat", help="talk with the model")
    from capstone import chat

    chat.add_options(chat_parser)
    options = parser.parse_args()
    try:
        if options.command == "fetch":
            print(fetch.fetch())
        else:
            chat.run(options)
    except fetch.NoModel as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
