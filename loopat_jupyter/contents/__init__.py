"""Files of loops in JupyterLab, whatever folder the server shows.

A drive called `loops` holds one folder for each loop: `loops:sales-in-may-3f2a9c1e/report.ipynb` is a file of its
workdir. What runs in a loop can plant a symlink anywhere in there, so one that leads out of its workdir is refused, in
this drive and in the server's own root folder.

===============  =================================================================================
`drive`          what the folders of the drive are called, and which loop one of them means
`bounds`         where a loop's files end, and what is answered to who leaves them
`pinned`         files opened while somebody swaps folders for links
`looking`        what is said of files and folders in the same way
`changes`        files made, moved, copied and removed in the same way
`checkpoints`    checkpoints of files
`sending`        files as they are
`managers`       the contents manager of the server's root folder
`drive_manager`  that of the drive
`handlers`       the drive's addresses: the stock handlers over the drive's manager
===============  =================================================================================
"""
