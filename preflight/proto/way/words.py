"""Numbers in sentences about packets."""


def counted(number: int, what: str) -> str:
    """A number with its noun: `1 packet`, `7 packets`."""
    return f"{number} {what}{'' if number == 1 else 's'}"
