"""From raw files to documents, in phases of independent tasks: the same bytes wherever they run.

    extract  ->  fingerprint  ->  compare  ->  select  ->  assemble
    read,        digests and      what         cut and      caps, hold-out,
    clean,       signatures       repeats      decontam-    mixture, order
    filter                        what         inate

`extract`, `fingerprint` and `select` have one task a part of the input; `compare` and `assemble`
look at numbers of all documents at once, never at all texts.
"""
