"""Exceptions of the package."""

from __future__ import annotations

from collections.abc import Sequence


class Error(Exception):
    """Base class of the exceptions that mbvc raises.

    Attributes:
        message: What is wrong, as the command ``mbvc`` prints it.
        help: Remedies.
    """

    def __init__(self, message: str, help: Sequence[str] = ()) -> None:
        super().__init__(message, list(help))
        self.message = message
        self.help = list(help)

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"help: {text}" for text in self.help)])


class SpecError(Error):
    """A spec is invalid. The message lists every error with its line."""


class WeightsError(Error):
    """A weights file is invalid, or does not fit the network. The message lists the differences."""


class ModelFileError(Error):
    """A file of another framework cannot be imported. A damaged ``.mbvc`` file raises :class:`Error`."""


class LabelsError(Error):
    """Labels are invalid, or do not fit the network."""


class PictureError(Error):
    """An image cannot be read or decoded."""


class CommandError(Error):
    """The command ``mbvc`` failed."""
