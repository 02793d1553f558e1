"""The sandbox of a loop: plans are pure, `podman` is the one place that runs podman.

=============  ==========================================================================================
`plan`         pure: mounts, container argv, exec argv, configuration hash; `drift`: what `ensure` has to do
`podman`       `Podman`: runs podman with a deadline, a limit on parallel calls and typed errors
`failures`     what to tell where podman fails
`environment`  what podman runs in; `clients`: what its processes write
`trust`        finds the host's certificate bundle
`template`     pure: the image template, its hash and tags, the labels of its build steps
`base_image`   the distribution image below: pulled, or made from packages
`build`        one `podman build`, ended cleanly when it is cancelled
`pulling`      pulls an image that somebody chose
`preparing`    podman's copy of an image for sandboxes, made before one waits for it
`images`       `Images`: one build per tag across processes, with progress
`process`      processes inside: start, find on the host, signal, watch, read the log
`sockets`      how the host connects to what listens inside
`state`        runtime notes about a sandbox, each checked against a living process
`execution`    commands: attached with streams, or detached and watched
`entrance`     how the main process of a sandbox is asked to start something; if it does not answer, podman does
`pipes`        the streams of a command that started there; `streams` takes them to a caller, `through` to one's own
`readiness`    waiting until a descriptor can be read or written
`facts`        what podman and the host's kernel say of containers
`activity`     which sandboxes are in use, and since when not
`runtime`      `RuntimeFolders`: made, checked and cleared, whatever was done to them inside
`making`       the podman calls that make, start, stop and remove one container
`judging`      pure: the state that what is known of a sandbox amounts to
`lifecycle`    `Sandboxes`: ensure, stop, remove, status
`leftovers`    pure: what nothing needs any more; `sweep` finds and removes it
`project_images` labels of images of projects, and which of them nobody needs any more
`specs`        which kernels a sandbox offers
`session`      the end of a terminal: what it started ends with it
`engine_facts` what podman says of itself, and a note of it
`machine`      facts about the host; `preflight` judges them, each failure with the command that fixes it
`inside/`      files mounted read-only into every sandbox at /loopat/lib
=============  ==========================================================================================
"""
