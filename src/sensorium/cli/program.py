"""The program of the command line, to which each file of this folder adds commands."""

from __future__ import annotations

from collections.abc import Callable

from cyclopts import App, Parameter

app = App(
    name="sensorium",
    help="General perception with iterative attention: one model, the Perceiver, for any signal.\n\n"
    "Every command takes --debug: a traceback instead of one line.",
    help_epilogue="First: sensorium inspect DATA, sensorium train DATA, sensorium predict RUN FILE",
    result_action="return_value",
    help_format="markdown",
    default_parameter=Parameter(negative=()),
)
app.register_install_completion_command(help="Complete commands and options in this shell (bash, zsh, fish).")


def command(
    order: int, *examples: str, name: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command of the program.

    Args:
        order: its place in the list of commands, which is the order of the work.
        examples: lines at the end of its help.
        name: of the command, where it is not that of the function.
    """
    epilogue = "Examples:\n\n" + "\n\n".join(examples)
    return app.command(name=name, sort_key=order, help_epilogue=epilogue)
