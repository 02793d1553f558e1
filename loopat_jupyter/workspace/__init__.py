"""The files of a workspace. All state of loops is here; copy the folder and the loops are there.

=============  ============================================================================
`paths`        `Workspace`: where everything is, on disk and in the runtime directory
`whereabouts`  where a path leads with regard to loops, followed once
`config`       `Config`: site and workspace settings with environment overrides
`loading`      `ConfigLoader`: settings that are read again once their files have changed
`records`      `LoopStore`: one `meta.json` per loop, written whole or not at all
`locks`        `FileLock`: a lock that dies with its holder
`serving`      whether any server serves a workspace: a lock that servers share
`files`        atomic writes and safe files in folders that a sandbox can write
`unmade`       the note that podman was never asked for a loop's sandbox
=============  ============================================================================
"""
