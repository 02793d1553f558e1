import type { TranslationBundle } from '@jupyterlab/translation';
import {
  Button,
  ellipsesIcon,
  notebookIcon,
  runIcon,
  stopIcon,
  terminalIcon
} from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import * as React from 'react';

import { IconButton } from './button';
import { CommandIDs } from './ids';
import type { Loop } from './tokens';
import { ago, insideWords, repoName, stateWords } from './words';

interface IProps {
  loop: Loop;
  commands: CommandRegistry;
  trans: TranslationBundle;
}

/** A loop in the panel. */
export function Row(props: IProps): React.ReactElement {
  const { loop, commands, trans } = props;
  const run = (id: string, args: ReadonlyPartialJSONObject = {}) =>
    void commands.execute(id, { loop: loop.id, ...args });
  const { word, mark } = stateWords(loop, trans);
  return (
    <div className="jp-Loops-row" data-state={loop.state}>
      <div className="jp-Loops-rowHead">
        <button
          className="jp-Loops-name"
          title={trans.__('Show the files of “%1”', loop.title)}
          onClick={() => run(CommandIDs.files)}
        >
          {loop.title}
        </button>
        <Actions {...props} run={run} />
      </div>
      {loop.repo !== null && (
        <div
          className="jp-Loops-repo"
          title={trans.__('%1, branch %2', loop.repo, loop.branch ?? '–')}
        >
          <span className="jp-Loops-repoName">{repoName(loop.repo)}</span>
          {loop.branch !== null && (
            <span className="jp-Loops-branch">{loop.branch}</span>
          )}
        </div>
      )}
      <div className="jp-Loops-rowState">
        <span className="jp-Loops-mark" aria-hidden="true">
          {mark}
        </span>
        <span className="jp-Loops-word">{word}</span>
        {loop.progress !== null && loop.progress.steps > 0 && (
          <progress
            value={loop.progress.step}
            max={loop.progress.steps}
            aria-label={loop.progress.label}
          />
        )}
        <span className="jp-Loops-inside">
          {insideWords(loop.in_use, trans)}
        </span>
        {loop.state !== 'preparing' && (
          <time className="jp-Loops-ago" dateTime={loop.last_activity}>
            {ago(loop.last_activity, trans)}
          </time>
        )}
      </div>
      {loop.restart_needed && (
        <div className="jp-Loops-note jp-Loops-restart" role="note">
          <span>{trans.__('Restart it to take the new settings.')}</span>
          <Button
            small
            className="jp-mod-styled"
            aria-label={trans.__('Restart “%1”', loop.title)}
            onClick={() => run(CommandIDs.recreate, { isRestart: true })}
          >
            {trans.__('Restart…')}
          </Button>
        </div>
      )}
      {loop.warnings.map(warning => (
        <div key={warning} className="jp-Loops-note" role="note">
          {warning}
        </div>
      ))}
    </div>
  );
}

function Actions({
  loop,
  trans,
  run
}: IProps & { run: (id: string) => void }): React.ReactElement {
  const canStart = ['absent', 'stopped', 'error'].includes(loop.state);
  return (
    <span
      className="jp-Loops-actions"
      role="group"
      aria-label={trans.__('Actions on “%1”', loop.title)}
    >
      {!loop.archived && (
        <>
          <IconButton
            icon={notebookIcon}
            label={trans.__('New notebook in “%1”', loop.title)}
            onClick={() => run(CommandIDs.notebook)}
          />
          <IconButton
            icon={terminalIcon}
            label={trans.__('New terminal in “%1”', loop.title)}
            onClick={() => run(CommandIDs.terminal)}
          />
        </>
      )}
      {loop.state === 'running' && (
        <IconButton
          icon={stopIcon}
          label={trans.__('Stop “%1”', loop.title)}
          onClick={() => run(CommandIDs.stop)}
        />
      )}
      {loop.state === 'preparing' && (
        <IconButton
          icon={stopIcon}
          label={trans.__('Cancel the start of “%1”', loop.title)}
          onClick={() => run(CommandIDs.cancel)}
        />
      )}
      {!loop.archived && canStart && (
        <IconButton
          icon={runIcon}
          label={trans.__('Start “%1”', loop.title)}
          onClick={() => run(CommandIDs.start)}
        />
      )}
      <IconButton
        icon={ellipsesIcon}
        label={trans.__('More actions on “%1”', loop.title)}
        hasMenu
        onClick={openMenu}
      />
    </span>
  );
}

/** Opens the row's context menu below the button, for those who do not right-click. */
function openMenu(event: React.MouseEvent<HTMLElement>): void {
  const { left, bottom } = event.currentTarget.getBoundingClientRect();
  event.currentTarget.dispatchEvent(
    new MouseEvent('contextmenu', {
      bubbles: true,
      cancelable: true,
      view: window,
      clientX: left,
      clientY: bottom
    })
  );
}
