/** Name of the drive that holds the files of all loops. */
export const DRIVE = 'loops';

/**
 * The folder of the loop that a path lies in.
 *
 * @param path - Such as `loops:rain-0a1b2c3d/data/a.ipynb`.
 * @returns `rain-0a1b2c3d`; undefined for a path outside the drive and for the drive's own root.
 */
export function folderOf(path: string): string | undefined {
  const prefix = `${DRIVE}:`;
  if (!path.startsWith(prefix)) {
    return undefined;
  }
  const folder = path.slice(prefix.length).replace(/^\//, '').split('/')[0];
  return folder === '' ? undefined : folder;
}

/**
 * The path of a loop's files in the drive.
 *
 * @param folder - Of the loop, such as `rain-0a1b2c3d`.
 */
export function drivePath(folder: string): string {
  return `${DRIVE}:${folder}`;
}
