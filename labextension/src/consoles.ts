import type { ISessionContextDialogs } from '@jupyterlab/apputils';
import type { ConsolePanel, IConsoleTracker } from '@jupyterlab/console';

import { placeOf } from './place';
import type { ILoopManager } from './tokens';

/**
 * Has consoles of loops get a kernel when they are run without one, as notebooks do: their loop was stopped.
 *
 * @param consoles - All of the page.
 * @param manager - Knows the loops.
 * @param dialogs - Ask for a kernel where Lab does not know which; null in a Lab without such.
 */
export function startAgain(
  consoles: IConsoleTracker,
  manager: ILoopManager,
  dialogs: Pick<ISessionContextDialogs, 'selectKernel'> | null
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
        if (await sessionContext.startKernel()) {
          await dialogs?.selectKernel(sessionContext);
        }
      }
      await execute(...options);
    };
  };
  consoles.forEach(follow);
  consoles.widgetAdded.connect((_, panel) => follow(panel));
}
