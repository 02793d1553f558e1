import type { CommandRegistry } from '@lumino/commands';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

/** JupyterLab's own commands that start something at the server's root unless they are told where. */
const STARTS: readonly string[] = ['terminal:create-new', 'console:create'];

/** Arguments that say where it starts, or which one is meant that is there already. */
const SAYING: readonly string[] = ['cwd', 'basePath', 'path', 'name'];

/**
 * Has JupyterLab's terminals and consoles start in the folder that is shown, if that is in a loop.
 *
 * @param commands - Of the application.
 * @param folder - Tells the path of the folder that is shown and in a loop.
 */
export function startHere(
  commands: Pick<CommandRegistry, 'execute'>,
  folder: () => string | undefined
): void {
  const execute = commands.execute.bind(commands);
  commands.execute = (id, args) => {
    const cwd =
      STARTS.includes(id) &&
      !SAYING.some(name => args?.[name]) &&
      !isOnKernel(args)
        ? folder()
        : undefined;
    return execute(id, cwd === undefined ? args : { ...args, cwd });
  };
}

/** Whether a kernel that runs already is named: what is started on it is where that one is. */
function isOnKernel(args: ReadonlyPartialJSONObject | undefined): boolean {
  const wanted = args?.['kernelPreference'];
  return (
    typeof wanted === 'object' &&
    wanted !== null &&
    'id' in wanted &&
    Boolean(wanted.id)
  );
}
