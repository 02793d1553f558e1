"""Git repositories of loops.

=============  ====================================================================================================
`addresses`    what may be called a repo or a ref; pure
`git`          runs git on the host, hardened; never in a folder that a sandbox can write
`places`       which repos on this machine a sandbox could change
`registry`     the repos that a person can pick by name
`mirrors`      one bare copy of each repo, which only the host writes and loops borrow objects from
`checkout`     the step of a new loop that lays a branch of its own into its workdir
`submodules`   the submodules that the host fetches into a new loop, with what the loop itself has
`unsaved`      what would be lost with a loop: asked of git inside its sandbox
=============  ====================================================================================================

A checkout is made on the host while nobody else sees the loop yet. From then on git runs in it only inside the
sandbox: a planted hook, filter or `.git` file would otherwise run on the host.
"""
