"""What loops show to others: files, web servers and ports, behind one edge container for a workspace.

- `checks`: what may be asked for; pure.
- `plan`, `nginx`: names, addresses, containers, and the configuration of nginx; pure.
- `containers`: what podman says of them.
- `ports`: which ports are taken on the host, and what listens inside a loop.
- `listener`: the port of the host for what goes by host name.
- `records`: which loops are shared.
- `notes`: runtime files of the edge, and what it was told last.
- `edge`: makes it so.

The edge is nginx. It has no files of any loop: those of a loop that shares files are served by a container of its own,
which sees this one workdir and nothing else, read-only.
"""
