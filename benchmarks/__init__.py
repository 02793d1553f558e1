"""Measures what loops cost, each figure beside its floor from the same run.

    python -m benchmarks            the whole table (two to three minutes)
    python -m benchmarks --rounds 3 a quick look

=============  ===================================================================
`report`       medians, ratios and the table
`scene`        a workspace of its own with one running loop
`kernels`      kernel start, round trip, memory
`sandboxes`    start, ensure, command, list, memory
`terminals`    first prompt
`repos`        a second loop on a large repo; a command of its own, for it makes that repo
`shares`       requests to a shared port
`served`       a workspace of its own with a real server on it
`load`         a hundred loops at once, beside one
`soak`         whole lives of loops, what they leave behind, and how fast faults heal
=============  ===================================================================
"""
