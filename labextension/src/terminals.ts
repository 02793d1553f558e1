import type { Terminal } from '@jupyterlab/services';
import type { ITerminalTracker } from '@jupyterlab/terminal';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { ILoopManager } from './tokens';
import { terminalTitle } from './words';

/**
 * Has the tabs of terminals say which loop they are in, and the loops be looked at once a terminal runs in one.
 *
 * @param tracker - Of all terminals.
 * @param running - Tells what terminals there are.
 * @param manager - Knows the loops.
 * @param trans - Translates.
 */
export function nameTerminals(
  tracker: ITerminalTracker,
  running: Terminal.IManager,
  manager: ILoopManager,
  trans: TranslationBundle
): void {
  /** What each would be called, and what it is called here instead. */
  const names = new WeakMap<object, { own: string; shown: string }>();
  const rename = () => {
    tracker.forEach(({ content: { session, title } }) => {
      const before = names.get(title);
      const own = title.label === before?.shown ? before.own : title.label;
      const shown = terminalTitle(own, session.name, manager, trans);
      names.set(title, { own, shown });
      title.label = shown;
    });
  };
  tracker.widgetAdded.connect((_, { content }) => {
    // JupyterLab names it once it is connected, and programs in it do so later.
    content.title.changed.connect(rename);
    rename();
    void manager.fresh();
    // It is opened before it runs; the server counts it when it says something.
    const { session } = content;
    const onMessage = (_: unknown, message: Terminal.IMessage) => {
      if (message.type === 'stdout') {
        session.messageReceived.disconnect(onMessage);
        running.refreshRunning().catch(() => undefined);
      }
    };
    session.messageReceived.connect(onMessage);
  });
  manager.changed.connect(rename);
}
