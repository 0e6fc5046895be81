"""A figure that is printed in lectures, and what it really is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PrintedFigure:
    """A cell of the printed comparison of networks, and what it really is.

    Attributes:
        network: the network as printed.
        model: the network of the zoo that stands for it.
        printed_flop: the printed number of operations, as it is written.
        printed: the same as a number.
        counted: the network that the number was counted of, or comes nearest to.
        arguments: that network's arguments.
        unit: what was counted: `MACs` or `FLOPs`.
        macs: multiply-accumulates of that network, counted here.
        value: the number that should be printed, in the same unit.
        model_macs: multiply-accumulates of the network that stands for it.
        printed_params: the printed number of parameters, as it is written.
        model_params: parameters of the network that stands for it.
        params_agree: whether these two agree in all printed digits.
    """

    network: str
    model: str
    printed_flop: str
    printed: int
    counted: str
    arguments: dict[str, str]
    unit: str
    macs: int
    value: int
    model_macs: int
    printed_params: str
    model_params: int
    params_agree: bool

    def sentence(self) -> str:
        """Return what the printed figure really is, in words."""
        given = " ".join(f"{key}={value}" for key, value in self.arguments.items())
        is_other = self.counted != self.model or bool(given)
        of = f" of {self.counted}{f' with {given}' if given else ''}" if is_other else ""
        off = self.printed / self.value - 1
        verb = "are" if abs(off) < 0.1 else "come nearest to"
        product = f" = 2 x {self.macs:,} MACs" if self.unit == "FLOPs" else ""
        text = (
            f"{self.network}: the printed {self.printed_flop} FLOP {verb} the {self.unit}{of}, "
            f"{self.value:,}{product}"
        )
        if is_other:
            agree = "are those of" if self.params_agree else f"are not the {self.model_params:,} of"
            return (
                f"{text}; the printed {self.printed_params} parameters {agree} {self.model}, which "
                f"has {self.model_macs:,} MACs"
            )
        if self.params_agree:
            return text
        return f"{text}; it has {self.model_params:,} parameters, printed {self.printed_params}"
