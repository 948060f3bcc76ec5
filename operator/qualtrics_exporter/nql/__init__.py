"""NQL, the query language of Nexthink, as text: read it, check it, say where it is wrong. It talks to nobody.

    scan        a query cut at its pipes           grammar.lark  what may stand between two of them
    parse       text → tree, always                tree, syntax  what the grammar found as nodes; the nodes
    check       the way in for those who ask       rules/        what a tree may be like
    findings    what rules find, and where         explain       a fault of the grammar in words
    compare     whether two texts mean the same    vocabulary    known names; walk, source: places in tree and text

What is certainly wrong is an error. NQL grows, and nobody but Nexthink has its grammar: what this one does not know is
a warning, never a refusal.
"""
