"""How numbers are told to people. Pure."""


def counted(number: int, noun: str) -> str:
    """Returns a number with its noun in the right form.

    >>> counted(1, "account"), counted(1200, "message")
    ('1 account', '1,200 messages')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
