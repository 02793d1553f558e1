import type { ConsolePanel, IConsoleTracker } from '@jupyterlab/console';

import { placeOf } from './place';
import type { ILoopManager } from './tokens';

/**
 * Has consoles of loops get a kernel when they are run without one, as notebooks do: their loop was stopped.
 *
 * @param consoles - All of the page.
 * @param manager - Knows the loops.
 */
export function startAgain(
  consoles: IConsoleTracker,
  manager: ILoopManager
): void {
  const follow = (panel: ConsolePanel) => {
    const { console: inner, sessionContext } = panel;
    const execute = inner.execute.bind(inner);
    inner.execute = async (...options) => {
      if (
        sessionContext.hasNoKernel &&
        placeOf(panel, manager, undefined).isInside
      ) {
        // That of a notebook, which has another one by now.
        sessionContext.kernelPreference = {
          ...sessionContext.kernelPreference,
          id: undefined
        };
        await sessionContext.startKernel();
      }
      await execute(...options);
    };
  };
  consoles.forEach(follow);
  consoles.widgetAdded.connect((_, panel) => follow(panel));
}
