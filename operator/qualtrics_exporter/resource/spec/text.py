"""Rules for texts that several parts of the spec share."""

from qualtrics_exporter.resource.rules import Rule

# A line break in a mail header starts another header. Control characters can also change the output of a terminal.
ONE_LINE = Rule.pattern(
    "^[^\\x00-\\x1f\\x7f-\\x9f\u2028\u2029]*$",
    "must be one line, without line breaks or other control characters: write it on one line, or with >- in YAML",
)
# RE2 and Python differ in what white space is, so it is listed. Zero-width characters look empty, too.
NOT_BLANK = Rule.pattern(
    "[^\\x00-\\x20\\x7f-\\xa0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f-\u2060\u3000\ufeff]",
    "must contain more than white space",
)
