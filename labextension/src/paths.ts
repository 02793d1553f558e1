import type { IPlace } from './place';
import type { ILoopManager } from './tokens';

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

const IN_WORKSPACE = /\/loops\/([0-9a-f-]{36})\/workdir(?:\/|$)/;

/**
 * The id of the loop that a path below the server's own root lies in.
 *
 * @param path - Such as `data/a.ipynb`.
 * @param root - The server's root folder on the host, as JupyterLab tells it; it may begin with `~`.
 * @returns Undefined for a path of a drive, and for one that lies in no loop.
 */
export function idOf(path: string, root: string): string | undefined {
  return path.includes(':')
    ? undefined
    : IN_WORKSPACE.exec(`${root}/${path}`)?.[1];
}

/**
 * Whether a path is that of a loop's file, whatever has become of the loop.
 *
 * @param path - In the drive or below the server's own root.
 * @param loop - The loop.
 * @param root - The server's root folder on the host.
 */
export function liesIn(
  path: string,
  loop: { readonly id: string; readonly folder: string },
  root: string
): boolean {
  return folderOf(path) === loop.folder || idOf(path, root) === loop.id;
}

const IN_FOLDER = /^[^/:]*-[0-9a-f]{8}\//;

/**
 * The path of a console as a document in the same folder has it.
 *
 * @param path - As the console has it: JupyterLab leaves out the name of the drive.
 */
export function consolePath(path: string): string {
  return IN_FOLDER.test(path) ? drivePath(path) : path;
}

/**
 * The place of a console, or of that for which there is a session.
 *
 * @param path - As JupyterLab has it, which may leave out the name of the drive.
 * @param known - The loops.
 */
export function placeOfSession(
  path: string,
  known: Pick<ILoopManager, 'condition' | 'ofPath'>
): IPlace {
  const meant = consolePath(path);
  // Other folders, such as those of a day, may have names that look like a loop's.
  const loop = known.ofPath(meant) ?? known.ofPath(path);
  const mayBe = meant !== path && known.condition.kind === 'loading';
  return { isInside: loop !== undefined || mayBe, loop };
}

const TERMINAL = /^([0-9a-f]{8})_\d+$/;

/**
 * What the id of a terminal's loop begins with.
 *
 * @param name - Of the terminal.
 * @returns Undefined for one outside loops.
 */
export function idOfTerminal(name: string): string | undefined {
  return TERMINAL.exec(name)?.[1];
}

const KERNEL = /^loop-.*?-?[0-9a-f]{8}-./;

/**
 * Whether a kernel is one that a loop offers by its name, to notebooks anywhere.
 *
 * @param name - Of the kernel, such as `loop-rain-0a1b2c3d-python3`.
 * @param id - Of one loop; undefined for that of any, also of another workspace.
 */
export function isKernelOf(name: string, id?: string): boolean {
  return (
    KERNEL.test(name) &&
    (id === undefined || name.includes(`-${id.slice(0, 8)}-`))
  );
}
