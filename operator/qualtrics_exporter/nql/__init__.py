"""NQL, the query language of Nexthink, as text: read it, check it, say where it is wrong. It talks to nobody.

    scan        a query cut at its pipes          grammar.lark  what may stand between two of them
    parse       text → tree, always                syntax        the nodes of that tree
    rules/      what a tree may be like            findings      what they find, and where
    check       the way in for those who ask       compare       whether two texts mean the same

What is certainly wrong is an error. NQL grows, and nobody but Nexthink has its grammar: what this one does not know is
a warning, never a refusal.
"""
