import type { JupyterFrontEnd } from '@jupyterlab/application';
import { PathExt } from '@jupyterlab/coreutils';
import { DocumentWidget } from '@jupyterlab/docregistry';

import type { ILoopManager, Loop } from './tokens';

/** The names of documents that are open in a loop with changes that were not saved, each once. */
export function unsavedIn(
  shell: JupyterFrontEnd.IShell,
  manager: ILoopManager,
  loop: Loop
): string[] {
  const names = [...shell.widgets('main')]
    .filter((widget): widget is DocumentWidget => {
      return widget instanceof DocumentWidget;
    })
    .map(widget => widget.context)
    .filter(({ model }) => model.dirty)
    .filter(({ path }) => manager.ofPath(path)?.id === loop.id)
    .map(({ path }) => PathExt.basename(path));
  return [...new Set(names)];
}
