import { isKernelOf, placeOfSession } from './paths';
import type { IPlace } from './place';
import type { ILoopManager, Loop } from './tokens';

/** How what is shown may act in JupyterLab: as Lab has it, not at all, or not until more is known. */
export type Trust = 'labs' | 'none' | 'unknown';

/** Where something that is shown comes from, and the loop's isolation. */
export interface IOrigin extends Omit<IPlace, 'loop'> {
  loop: Pick<Loop, 'isolation'> | undefined;
}

/** What is known of the loops. */
export type Known = Pick<ILoopManager, 'condition' | 'loops' | 'ofPath'>;

/** A session, as JupyterLab lists those that run. */
export interface ISession {
  path: string;
  kernel: { id: string; name: string } | null;
}

/**
 * How far something is trusted.
 *
 * @param origins - All that it may come from.
 */
export function trustOf(origins: readonly IOrigin[]): Trust {
  const inside = origins.filter(origin => origin.isInside);
  if (inside.some(({ loop }) => loop?.isolation === 'strict')) {
    return 'none';
  }
  return inside.every(({ loop }) => loop !== undefined) ? 'labs' : 'unknown';
}

/**
 * The loops that a kernel may run in, whatever document it is used by.
 *
 * @param kernel - The kernel.
 * @param sessions - All that run: a notebook may use the kernel of another one.
 * @param known - The loops.
 */
export function originsOfKernel(
  kernel: NonNullable<ISession['kernel']>,
  sessions: Iterable<ISession>,
  known: Known
): IOrigin[] {
  const named = known.loops.filter(({ id }) => isKernelOf(kernel.name, id));
  const origins: IOrigin[] = named.map(loop => ({ isInside: true, loop }));
  if (named.length === 0 && isKernelOf(kernel.name)) {
    origins.push({ isInside: true, loop: undefined });
  }
  for (const session of sessions) {
    if (session.kernel?.id === kernel.id) {
      origins.push(placeOfSession(session.path, known));
    }
  }
  return origins;
}
