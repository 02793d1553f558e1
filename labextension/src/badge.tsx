import type { DocumentRegistry } from '@jupyterlab/docregistry';
import type { NotebookPanel } from '@jupyterlab/notebook';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import { loopIcon } from './icons';
import type { ILoopManager, Loop } from './tokens';
import { Watch } from './watch';
import { fullTitle, stateWords } from './words';

/** Names the loop that a notebook runs in, in the notebook's toolbar; takes no room outside loops. */
export class LoopBadge extends ReactWidget {
  /**
   * @param panel - The notebook.
   * @param _manager - Knows the loops.
   * @param _trans - Translates.
   * @param _onClick - Shows the loop.
   */
  constructor(
    panel: NotebookPanel,
    private _manager: ILoopManager,
    private _trans: TranslationBundle,
    private _onClick: (loop: Loop) => void
  ) {
    super();
    this.addClass('jp-Loops-badge');
    this._context = panel.context;
    this._watch = new Watch(_manager);
    _manager.changed.connect(this._look, this);
    this._context.pathChanged.connect(this._look, this);
    this._look();
  }

  override dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this._watch.dispose();
    this._manager.changed.disconnect(this._look, this);
    this._context.pathChanged.disconnect(this._look, this);
    super.dispose();
  }

  protected render(): React.ReactElement | null {
    const loop = this._loop;
    if (loop === undefined) {
      return null;
    }
    const trans = this._trans;
    const title = fullTitle(loop, this._manager);
    return (
      <button
        className="jp-Loops-badgeButton"
        title={trans.__(
          'Runs in the loop “%1” (%2): show it in the panel',
          title,
          stateWords(loop, trans).word
        )}
        onClick={() => this._onClick(loop)}
      >
        <loopIcon.react tag="span" width="16px" height="16px" />
        <span className="jp-Loops-badgeName">{title}</span>
      </button>
    );
  }

  private _look(): void {
    const { path } = this._context;
    this._watch.isLooking = this._manager.isInside(path);
    this._loop = this._manager.ofPath(path);
    this.setHidden(this._loop === undefined);
    this.update();
  }

  private _context: DocumentRegistry.Context;
  private _loop: Loop | undefined;
  private _watch: Watch;
}
