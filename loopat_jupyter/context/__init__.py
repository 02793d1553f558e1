"""What every loop brings along: the team's knowledge, its notes, and a member's own files.

=============  ====================================================================================================
`merging`      merges and pushes in a bare repo, again when somebody else was first
`bundles`      commits of a loop, taken out of its sandbox as data
`origins`      where each context is kept: a remote, or the workspace itself
`checkouts`    the step of a new loop that gives it a branch of its own of each context
`extent`       how much a commit may hold that goes to everybody
`promotion`    a loop's work on a context goes to everybody, or waits as a proposal
`proposals`    what waits: listed, shown, merged, discarded
`requests`     `loopat-promote` inside a loop, answered by a process of the host
=============  ====================================================================================================

No git of the host ever runs in a folder that a sandbox can write, and no sandbox holds the key to a remote: a loop's
commits come out as a bundle, are merged in a bare repo of the host, and are pushed from there.
"""
