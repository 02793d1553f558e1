"""Kernels in loops.

=============  ==========================================================================================
`inside`       a kernel's process: seen by the host, or reached through podman
`transports`   how the sockets are reached: files in the runtime directory, or published ports
`orders`       pure: what a kernel is started with: command, variables, connection file
`spares`       kernels that wait to be used
`launch`       `SandboxKernel`: start it, wait for its sockets, say why it failed
`failure`      errors as Jupyter shows them
`keeping`      kernels that outlive their server: written down, and found again
`provisioner`  `LoopatProvisioner`: what jupyter_client calls
`counts`       how many run, for `/metrics`
`mapping`      the server's kernels, also in the drive of loops
`sessions`     the server's sessions, of which those of kept kernels come back
`__main__`     a kernel of a loop as a plain command, for clients that know no provisioners
=============  ==========================================================================================
"""
