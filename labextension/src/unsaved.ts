import type { JupyterFrontEnd } from '@jupyterlab/application';
import { PageConfig, PathExt } from '@jupyterlab/coreutils';
import type { DocumentRegistry } from '@jupyterlab/docregistry';
import { DocumentWidget } from '@jupyterlab/docregistry';

import { liesIn } from './paths';
import type { Loop } from './tokens';

/**
 * The documents that are open in a loop, each once, also while it is archived or gone.
 *
 * @param shell - Of the application.
 * @param loop - Whose files they are.
 */
export function openIn(
  shell: JupyterFrontEnd.IShell,
  loop: Pick<Loop, 'id' | 'folder'>
): DocumentRegistry.Context[] {
  const root = PageConfig.getOption('serverRoot');
  const contexts = [...shell.widgets('main')]
    .filter((widget): widget is DocumentWidget => {
      return widget instanceof DocumentWidget;
    })
    .map(widget => widget.context)
    .filter(({ path }) => liesIn(path, loop, root));
  return [...new Set(contexts)];
}

/** The names of documents that are open in a loop with changes that were not saved, each once. */
export function unsavedIn(
  shell: JupyterFrontEnd.IShell,
  loop: Pick<Loop, 'id' | 'folder'>
): string[] {
  const names = openIn(shell, loop)
    .filter(({ model }) => model.dirty)
    .map(({ path }) => PathExt.basename(path));
  return [...new Set(names)];
}
