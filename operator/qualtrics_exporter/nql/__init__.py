"""NQL, the query language of Nexthink, as text: parses and checks queries. It has no I/O.

    check         the entry point: all findings about a query
    scan          splits a query at its pipes
    grammar.lark  the grammar of the parts between the pipes
    parse         parses a text to a syntax tree; never fails
    tree, syntax  builds the nodes of the tree; the nodes
    rules/        the rules, as functions of a tree
    findings      a finding, and the decorator of a rule
    explain       messages about syntax errors
    compare       whether two queries mean the same
    limits        the longest query that it compares
    vocabulary    known names of the data model
    walk, source  finds nodes in a tree; positions in a text

A finding is an error only if the query is certainly wrong. NQL evolves, and its grammar is not public: something that
this grammar does not know is a warning.
"""
