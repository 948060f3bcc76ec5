"""The rules. Each is a function of a syntax tree, with one reason and one page in docs/nql/.

    grammar     syntax errors              clauses     clauses that need or limit others
    characters  invisible characters       parameters  `$names` and their values
    names       unknown names              output      the field that the query returns
    window      the time range and the schedule

A finding is an error only if the query is certainly wrong, because an error stops the exporter. NQL that may be newer
than this program, and valid NQL with surprising results, are warnings.
"""

from qualtrics_exporter.nql.findings import QueryRule
from qualtrics_exporter.nql.rules import characters, clauses, grammar, names, output, parameters, window

RULES: tuple[QueryRule, ...] = (
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
