import { MainAreaWidget } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import { loopIcon } from './icons';
import type { ILoopManager, Loop } from './tokens';
import { fullTitle } from './words';

/** The build of a loop's image in a tab; it is read on while the build takes steps. */
export class LogView extends MainAreaWidget<Widget> {
  /**
   * @param _manager - Reads the log.
   * @param loop - Whose image.
   * @param trans - Translates.
   */
  constructor(
    private _manager: ILoopManager,
    loop: Loop,
    trans: TranslationBundle
  ) {
    super({ content: new Widget({ node: document.createElement('pre') }) });
    this._loopId = loop.id;
    this._seen = step(loop);
    this.id = LogView.idOf(loop);
    this.title.label = trans.__('Build of %1', fullTitle(loop, _manager));
    this.title.icon = loopIcon;
    this.title.closable = true;
    this.content.addClass('jp-Loops-log');
    this.content.node.tabIndex = 0;
    _manager.changed.connect(this._look, this);
  }

  /** The id of the tab for a loop. */
  static idOf(loop: Loop): string {
    return `loops-log-${loop.id}`;
  }

  override dispose(): void {
    this._manager.changed.disconnect(this._look, this);
    super.dispose();
  }

  /**
   * Read the log.
   *
   * @throws LoopError: there is none.
   */
  async read(): Promise<void> {
    const { node } = this.content;
    const text = await this._manager.buildLog(this._loopId);
    const isAtEnd = node.scrollTop + node.clientHeight >= node.scrollHeight - 4;
    node.textContent = text;
    if (isAtEnd) {
      node.scrollTop = node.scrollHeight;
    }
  }

  private _look(): void {
    const loop = this._manager.find(this._loopId);
    if (loop === undefined || step(loop) === this._seen) {
      return;
    }
    this._seen = step(loop);
    this.read().catch(() => {
      // What was read stays; the panel tells of a server that is away.
    });
  }

  private _loopId: string;
  private _seen: string;
}

/** What changes with each step of a build. */
function step(loop: Loop): string {
  return `${loop.state} ${loop.progress?.step ?? ''}`;
}
