"""From raw files to documents, in phases of independent tasks: the same bytes wherever they run.

    extract  ->  fingerprint  ->  compare  ->  select  ->  assemble
    read,        digests and      what         cut and      caps,
    clean,       signatures       repeats      decontam-    hold-out,
    filter                        what         inate        order

`extract`, `fingerprint` and `select` have one task a part of the input; `compare` and `assemble`
look at a few numbers of every document at once, never at all texts.
"""
