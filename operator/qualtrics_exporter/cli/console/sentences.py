"""Messages as sentences. Most messages of the program are parts of a line, without a capital and a full stop."""


def sentence(text: str) -> str:
    """The text with a capital at the start and a full stop at the end, unless it ends with a sign of its own."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?', '!', '…')) else '.'}"
