import type { JupyterFrontEnd } from '@jupyterlab/application';
import { ConsolePanel } from '@jupyterlab/console';
import { DocumentWidget } from '@jupyterlab/docregistry';
import { NotebookPanel } from '@jupyterlab/notebook';
import type { Kernel } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Widget } from '@lumino/widgets';

import type { LoopManager } from './manager';
import { tell } from './notices';
import { wake } from './waking';
import { fullTitle } from './words';

/** A cell, which has an output area where it is one with code. */
interface ICell {
  outputArea?: { future: Kernel.IShellFuture | null | undefined };
}

/**
 * Has what is open follow its kernel into a new sandbox, whoever had that made, and says that variables are gone.
 *
 * @param shell - Of the application.
 * @param manager - Hears of the restarts.
 * @param trans - Translates.
 */
export function followRestarts(
  shell: JupyterFrontEnd.IShell,
  manager: LoopManager,
  trans: TranslationBundle
): void {
  manager.restarted.connect((_, { kernelId, loop }) => {
    const open = [...shell.widgets('main')].filter(
      widget => kernelOf(widget)?.id === kernelId
    );
    if (open.length === 0) {
      return;
    }
    open.forEach(follow);
    const message =
      loop === undefined
        ? trans.__(
            'A kernel was restarted: the sandbox of its loop was recreated.'
          )
        : trans.__(
            'The kernels of “%1” were restarted: its sandbox was recreated.',
            fullTitle(loop, manager)
          );
    const loopId = loop?.id ?? '';
    tell({ type: 'info', message, loopId, title: '' }, trans);
  });
}

/** The kernel of a document or console. */
export function kernelOf(widget: Widget): Kernel.IKernelConnection | undefined {
  const context =
    widget instanceof DocumentWidget
      ? widget.context.sessionContext
      : widget instanceof ConsolePanel
        ? widget.sessionContext
        : undefined;
  return context?.session?.kernel ?? undefined;
}

/** Ends the waiting for a kernel that is gone; whoever has its id now is at the same address. */
function follow(widget: Widget): void {
  const cells: Iterable<Widget> =
    widget instanceof NotebookPanel
      ? widget.content.widgets
      : widget instanceof ConsolePanel
        ? widget.console.cells
        : [];
  for (const cell of cells) {
    (cell as Widget & ICell).outputArea?.future?.dispose();
  }
  const kernel = kernelOf(widget);
  if (kernel !== undefined) {
    void wake(kernel);
  }
}
