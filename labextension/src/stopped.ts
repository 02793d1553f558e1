import type { JupyterFrontEnd } from '@jupyterlab/application';
import { MainAreaWidget } from '@jupyterlab/apputils';
import type { ServiceManager } from '@jupyterlab/services';
import { Terminal } from '@jupyterlab/terminal';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Widget } from '@lumino/widgets';

import type { LoopManager } from './manager';
import type { IThing } from './memory';
import { Memory } from './memory';
import { tell } from './notices';
import { placeOf } from './place';
import { kernelOf } from './restarted';
import { fullTitle, insideWords } from './words';

/**
 * Says what ended in this page when somebody else stopped a loop.
 *
 * @param shell - Of the application.
 * @param services - Tell what runs.
 * @param manager - Hears of the stops.
 * @param trans - Translates.
 */
export function tellOfStops(
  shell: JupyterFrontEnd.IShell,
  services: Pick<ServiceManager.IManager, 'sessions' | 'terminals'>,
  manager: LoopManager,
  trans: TranslationBundle
): void {
  const memory = new Memory();
  const look = () => {
    const open = [...shell.widgets('main')].map(each => thingOf(each, manager));
    memory.see(open.filter(thing => thing !== undefined));
  };
  manager.changed.connect(look);
  services.sessions.runningChanged.connect(look);
  services.terminals.runningChanged.connect(look);
  shell.currentChanged?.connect(look);

  manager.stopped.connect((_, { loop, isOwn }) => {
    const ended = insideWords(memory.end(loop.id), trans);
    if (ended !== '' && !isOwn) {
      const title = fullTitle(loop, manager);
      const message = trans.__(
        '“%1” was stopped. This ended: %2.',
        title,
        ended
      );
      tell({ type: 'info', message, loopId: loop.id, title: '' }, trans);
    }
  });
}

/** The kernel or terminal of something open in a loop that runs. */
function thingOf(widget: Widget, manager: LoopManager): IThing | undefined {
  const { loop } = placeOf(widget, manager, undefined);
  if (loop?.state !== 'running') {
    return undefined;
  }
  const content =
    widget instanceof MainAreaWidget ? (widget.content as Widget) : undefined;
  if (content instanceof Terminal) {
    const { name } = content.session;
    return { kind: 'terminals', id: `terminal ${name}`, loopId: loop.id };
  }
  const kernel = kernelOf(widget);
  return (
    kernel && { kind: 'kernels', id: `kernel ${kernel.id}`, loopId: loop.id }
  );
}
