"""Exercises on the pages of the book, made from the solutions and the grader's specs.

    ```{exercise} causal_mask
    ```

shows what is asked, how many points it is worth, where to write it, and the solution.

    ```{mistakes} causal_mask
    ```

shows the mistakes that the grader knows, with its own words and pictures.
"""

import hashlib
import inspect
import re
import textwrap
from html import escape

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxDirective

from autograder import report, rules, specs
from autograder.answers import ask
from autograder.course import ROOT
from autograder.exercise import Exercise, Mistake
from autograder.judge import judge_cases, make_cases

BOX = """\
```python
{header}
```

{docstring}

{rules}

{points}. Write it in
{{download}}`{assignment}.ipynb <{notebook}>` and run `check({name})`.

:::{{dropdown}} A solution
```{{literalinclude}} /solutions/{stem}.py
:pyobject: {name}
```
:::
"""


def exercise_of(directive: SphinxDirective) -> Exercise:
    """The exercise that a directive names; if there is none, the build fails."""
    name = directive.arguments[0]
    exercise = specs.find(name)
    if exercise is None:
        raise directive.error(f"no exercise is called {name!r}")
    return exercise


class ExerciseBox(SphinxDirective):
    """What is asked, with the function's name as its anchor."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        exercise = exercise_of(self)
        name = exercise.name
        box = nodes.admonition(classes=["exercise"], ids=[name], names=[name])
        self.state.document.note_explicit_target(box)
        box += nodes.title("", "Exercise: ", nodes.literal("", name))
        text = BOX.format(
            name=name,
            stem=exercise.stem,
            points="1 point" if exercise.points == 1 else f"{exercise.points} points",
            assignment=exercise.assignment,
            notebook=f"/exercises/release/{exercise.assignment}/{exercise.assignment}.ipynb",
            header=inspect.getsource(exercise.solution).partition('"""')[0].rstrip(),
            docstring=as_myst(exercise.docstring),
            rules="\n\n".join(rules.told(exercise)),
        )
        self.state.nested_parse(StringList(text.splitlines(), name), 0, box)
        return [box]


def as_myst(docstring: str) -> str:
    """Render a docstring of solutions/: paragraphs, and `Name:` before a section."""
    blocks = []
    for block in inspect.cleandoc(docstring).split("\n\n"):
        section = re.match(r"(Shapes|Raises|Source):\s", block)
        body = textwrap.dedent(block[section.end() :]) if section else block
        if not section:
            blocks.append(body)
        elif section[1] == "Shapes":
            blocks.append(shape_table(body))
        else:
            blocks.append(f"*{section[1]}:* {body}")
    return "\n\n".join(blocks)


def shape_table(body: str) -> str:
    """Make a table of the lines `name: (B, S), int`."""
    rows = ["| name | shape |", "|---|---|"]
    for entry in re.split(r"\n(?=\S)", body):
        name, _, what = " ".join(entry.split()).partition(": ")
        shape = re.sub(r"^\([^)]*\)", r"`\g<0>`", what)
        rows.append(f"| `{name}` | {shape} |")
    return "\n".join(rows)


class KnownMistakes(SphinxDirective):
    """The mistakes that the grader knows by name, each folded away."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        exercise = exercise_of(self)
        entries = "".join(known(exercise, mistake) for mistake in exercise.mistakes)
        return [nodes.raw("", f'<div class="mistakes">{entries}</div>', format="html")]


def known(exercise: Exercise, mistake: Mistake) -> str:
    """What a learner who makes this mistake is told and shown."""
    probes = exercise.draw()
    outcomes = [
        ask(mistake.function, probe.args, probe.kwargs, exercise.adapter)
        for probe in probes
    ]
    verdict = judge_cases(exercise, make_cases(exercise, probes, outcomes))
    assert verdict.mistake == mistake.sentence, verdict.message
    where = verdict.message.removeprefix(mistake.sentence)
    parts = [
        f"<summary>{report.escape(mistake.sentence)}</summary>",
        f"<p><code>{escape(verdict.probe)}</code>: {report.escape(where)}</p>",
        report.picture(verdict.case) if verdict.case else "",
        f"<p><strong>Hint:</strong> {report.escape(mistake.hint)}</p>",
    ]
    if mistake.seen:
        parts.append(f"<p>Seen in {report.thread_link(mistake.seen)}.</p>")
    return f"<details>{''.join(parts)}</details>"


def cache_by_content(app: Sphinx, config: Config) -> None:
    """Make every page anew, and run its cells, when what is behind it has changed.

    On its own the cache of outputs looks only at the cells.
    """
    digest = hashlib.sha256()
    code = (
        "solutions/**/*.py",
        "autograder/**/*.py",
        "capstone/*.py",
        "book/_ext/*.py",
    )
    for pattern in (*code, "benchmarks/*.json", "book/*.csv", "examples/**/*.ipynb"):
        for path in sorted(ROOT.glob(pattern)):
            digest.update(path.read_bytes())
    cache = app.outdir.parent / ".jupyter_cache" / digest.hexdigest()[:16]
    config.nb_execution_cache_path = str(cache)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("exercise", ExerciseBox)
    app.add_directive("mistakes", KnownMistakes)
    app.connect("config-inited", cache_by_content)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
