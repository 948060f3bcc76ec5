"""The rules, by what they look at. Each is a function over the tree with one reason and one page in docs/nql/.

What is certainly wrong is an error; what may be NQL that is newer than this program, or what works and yet surprises,
is a warning. When in doubt it is a warning: an error stops an exporter.
"""

from qualtrics_exporter.nql.findings import Rule
from qualtrics_exporter.nql.rules import characters, clauses, grammar, names, output, parameters, window

RULES: tuple[Rule, ...] = (
    grammar.syntax_error,
    grammar.not_understood,
    grammar.unknown_clause,
    characters.control_character,
    characters.invisible_character,
    characters.misplaced_comment,
    names.unknown_table,
    names.unknown_function,
    names.misspelled_user_field,
    clauses.compute_without_events,
    clauses.include_without_compute,
    clauses.period_of_summarize,
    clauses.limited,
    clauses.fractional_limit,
    clauses.no_condition,
    parameters.parameter_outside_where,
    parameters.parameter_missing,
    parameters.parameter_unused,
    parameters.parameter_repeated,
    output.several_fields,
    output.not_a_user_field,
    output.not_an_email_field,
    output.email_of_an_aggregate,
    output.no_linked_user,
    output.missing_prefix,
    output.gone_after_summarize,
    window.window_does_not_fit,
)
