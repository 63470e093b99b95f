"""Results."""

from __future__ import annotations

from typing import NamedTuple


class Guess(NamedTuple):
    """A class with its score."""

    label: str | None
    """Label of the class; ``None`` if the weights have no labels."""
    score: float
    """Probability, unless the head activation is ``log_softmax`` or ``none``."""
    index: int  # type: ignore[assignment]  # shadows a method of tuples
    """Index of the class, counted from 0."""


class Layer(NamedTuple):
    """A convolution or dense layer."""

    number: int
    """Number in the published layer table, from 1."""
    name: str
    """Name, such as ``block2.expand``."""
    output: tuple[int, int, int]
    """Shape of the output: height, width, channels."""
    macs: int
    """Multiply-accumulate operations."""


class Info(NamedTuple):
    """Facts of a network."""

    name: str
    """Name in the spec."""
    input: tuple[int, int, int]
    """Shape of the input: height, width, channels."""
    classes: int
    """Number of classes."""
    embedding: int
    """Length of the pooled vector."""
    precision: str
    """Number type: ``f32``, ``bf16``, ``int8`` or ``uint8``."""
    activation: str
    """Function from logits to scores: ``softmax``, ``log_softmax``, ``sigmoid`` or ``none``."""
    framing: str
    """How pictures are resized and cropped, such as ``crop 256/224 bilinear``."""
    isa: str
    """Instruction set of the kernels."""
    parameters: int
    """Number of weights."""
    macs: int
    """Multiply-accumulate operations of a call."""
    scratch_bytes: int
    """Memory that a call needs, in bytes."""
    packed_bytes: int
    """Size of the packed weights in bytes."""
    layers: list[Layer]
    """The layers in the order of the published table."""


class Fact(NamedTuple):
    """What an import found out about a model file."""

    key: str
    value: str
    how: str
    """The evidence, or the reason for a default."""
