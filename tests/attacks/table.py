"""The table of attacks in the book, from the data that the tests prove.

python tests/attacks/table.py
"""

import csv
import io

from attacks import ATTACKS, Attack

from autograder.course import ROOT

PATH = ROOT / "book" / "attacks.csv"


def outcome(attack: Attack) -> str:
    """What becomes of it where there is no sandbox."""
    if attack.process is None:
        return "not tried"
    return "open" if attack.open else "stopped"


def table() -> str:
    rows = io.StringIO(newline="")
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerow(["The notebook", "In the sandbox", "With limits alone"])
    for attack in ATTACKS.values():
        writer.writerow([attack.does, f"stopped: {attack.status}", outcome(attack)])
    return rows.getvalue()


if __name__ == "__main__":
    PATH.write_text(table())
    print(f"{len(ATTACKS)} attacks in {PATH}")
