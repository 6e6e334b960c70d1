"""Several processes that do the rows of one run: dealt by its parent, which writes what comes back.

The parent keeps all that makes a run trustworthy: input, numbering, output, manifest, counts,
signals, failure rules and the one quota. A member is a process with an engine and a client of its
own; it gets rows and permits over a socket pair, and gives back rows as bytes.
"""
