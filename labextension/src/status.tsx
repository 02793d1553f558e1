import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import { loopIcon } from './icons';
import { look } from './looking';
import type { IPlace } from './place';
import type { ILoopManager, Loop, Usage } from './tokens';
import { Watch } from './watch';
import { fullTitle, usageWords } from './words';

const LOOK_MS = 3000;

/** Where what is in front runs, with what its loop takes; nothing outside loops. */
export class LoopStatus extends ReactWidget {
  /**
   * @param _manager - Knows the loops.
   * @param _trans - Translates.
   * @param _front - Tells the place of what is in front.
   * @param _onClick - Shows the loop.
   */
  constructor(
    private _manager: ILoopManager,
    private _trans: TranslationBundle,
    private _front: () => IPlace,
    private _onClick: (loop: Loop) => void
  ) {
    super();
    this.addClass('jp-Loops-status');
    this._watch = new Watch(_manager);
    _manager.changed.connect(this.update, this);
  }

  override dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this._watch.dispose();
    this._manager.changed.disconnect(this.update, this);
    super.dispose();
  }

  /** Called when something else is in front, or it went elsewhere. */
  look(): void {
    this._watch.isLooking = this._front().isInside;
    this.update();
  }

  protected render(): React.ReactElement | null {
    const { loop } = this._front();
    if (loop === undefined) {
      return null;
    }
    return (
      <Status
        key={loop.id}
        loop={loop}
        manager={this._manager}
        trans={this._trans}
        onClick={this._onClick}
      />
    );
  }

  private _watch: Watch;
}

interface IProps {
  loop: Loop;
  manager: ILoopManager;
  trans: TranslationBundle;
  onClick: (loop: Loop) => void;
}

function Status({ loop, manager, trans, onClick }: IProps): React.ReactElement {
  const text = useUsage(loop, manager, trans);
  const title = fullTitle(loop, manager);
  return (
    <button
      className="jp-Loops-statusButton"
      title={trans.__('Runs in the loop “%1”: show it in the panel', title)}
      onClick={() => onClick(loop)}
    >
      <loopIcon.react tag="span" width="14px" height="14px" />
      <span className="jp-Loops-badgeName">{title}</span>
      {text !== '' && <span className="jp-Loops-usage">{text}</span>}
    </button>
  );
}

/** Processor and memory of a loop that runs, looked at every few seconds while the page is seen. */
function useUsage(
  loop: Loop,
  manager: ILoopManager,
  trans: TranslationBundle
): string {
  const [text, setText] = React.useState('');
  React.useEffect(() => {
    if (loop.state !== 'running') {
      setText('');
      return;
    }
    let before: { usage: Usage; at: number } | undefined;
    const looking = look({
      ask: signal => manager.usage(loop.id, signal),
      hear: usage => {
        const at = performance.now();
        const elapsed_s = before === undefined ? 0 : (at - before.at) / 1000;
        setText(usageWords(usage, before?.usage, elapsed_s, trans));
        before = { usage, at };
      },
      // A loop that was just deleted, or a server that is away: the panel tells.
      fail: () => setText(''),
      pauseMs: LOOK_MS,
      isAtOnce: true
    });
    return () => looking.dispose();
  }, [loop.id, loop.state, manager, trans]);
  return text;
}
