import type { ILabShell } from '@jupyterlab/application';
import { DocumentWidget } from '@jupyterlab/docregistry';

import type { ILoopManager } from './tokens';
import { fullTitle, marks } from './words';

/** Of a tab, as `data-…`: the loop of its document. */
const MARK = 'loops-title';

/**
 * Has the tabs of documents that are called the same say which loops they are in.
 *
 * JupyterLab renames a file when the label of its tab changes, so the loop stands beside the label (in `base.css`).
 *
 * @param shell - Where the documents are.
 * @param manager - Knows the loops.
 */
export function markTabs(shell: ILabShell, manager: ILoopManager): void {
  const followed = new WeakSet<object>();
  const mark = () => {
    const open = [...shell.widgets('main')].filter(
      (widget): widget is DocumentWidget => widget instanceof DocumentWidget
    );
    const of = marks(
      open.map(({ title, context }) => {
        const loop = manager.ofPath(context.path);
        return [title.label, loop && fullTitle(loop, manager)] as const;
      })
    );
    open.forEach(({ title, context }, index) => {
      const { [MARK]: before, ...others } = title.dataset;
      const name = context.localPath.split('/').pop();
      // While a file is being renamed, any change of the title would rename it once more.
      if (title.label === name && before !== of[index]) {
        title.dataset = of[index] ? { ...others, [MARK]: of[index] } : others;
      }
    });
    for (const widget of open.filter(each => !followed.has(each))) {
      followed.add(widget);
      widget.title.changed.connect(mark);
    }
  };
  shell.layoutModified.connect(mark);
  manager.changed.connect(mark);
}
