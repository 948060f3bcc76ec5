"""Rules for texts that several parts of the spec share."""

from qualtrics_exporter.resource.rules import Rule

# Line breaks in a mail header begin another header; control characters can also rewrite a terminal.
ONE_LINE = Rule.pattern(
    "^[^\\x00-\\x1f\\x7f-\\x9f\u2028\u2029]*$",
    "must be one line, without line breaks or other control characters: write it on one line, or with >- in YAML",
)
# White space in RE2 and in Python is not the same: these are named. Zero-width ones are as empty to people.
NOT_BLANK = Rule.pattern(
    "[^\\x00-\\x20\\x7f-\\xa0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f-\u2060\u3000\ufeff]",
    "must hold more than white space",
)
