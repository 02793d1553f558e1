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

import { IconButton, openMenu } from './button';
import { CommandIDs } from './ids';
import { Marked } from './marked';
import type { Loop } from './tokens';
import {
  ago,
  carriedWords,
  insideWords,
  isUnbuilt,
  repoName,
  sharedWords,
  stateWords,
  titled
} from './words';

interface IProps {
  loop: Loop;
  /** The beginning of its id where others are called the same, else empty. */
  apart: string;
  /** Why it could not be asked for anew; empty where it could. */
  unread: string;
  /** Warnings that are told above the list; the same set until they change. */
  told: ReadonlySet<string>;
  commands: CommandRegistry;
  trans: TranslationBundle;
  /** For times such as "3 min ago"; milliseconds. */
  now: number;
}

/** A loop in the panel; rendered anew only when the loop or the time has changed. */
export const Row = React.memo(function Row(props: IProps): React.ReactElement {
  const { loop, apart, unread, told, commands, trans, now } = props;
  const title = titled(loop, apart);
  const run = (id: string, args: ReadonlyPartialJSONObject = {}) =>
    void commands.execute(id, { loop: loop.id, ...args });
  const warnings = loop.warnings.filter(warning => !told.has(warning));
  const { word, mark } = stateWords(loop, trans);
  const carried = carriedWords(loop, trans);
  const inside = insideWords(loop.in_use, trans);
  const shared = loop.archived ? '' : sharedWords(loop.share, trans);
  return (
    <div
      className="jp-Loops-row"
      data-state={isUnbuilt(loop) ? 'error' : loop.state}
    >
      <div className="jp-Loops-rowHead">
        <button
          className="jp-Loops-name"
          title={trans.__('Show the files of “%1”', title)}
          onClick={() => run(CommandIDs.files)}
        >
          <span className="jp-Loops-nameText">{loop.title}</span>
          {apart !== '' && <span className="jp-Loops-apart">{apart}</span>}
        </button>
        <Actions loop={loop} title={title} trans={trans} run={run} />
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
      {carried !== '' && <div className="jp-Loops-carried">{carried}</div>}
      {shared !== '' && (
        <button
          type="button"
          className="jp-Loops-link jp-Loops-shares"
          title={trans.__('Show what “%1” shares', loop.title)}
          onClick={() => run(CommandIDs.share)}
        >
          {shared}
        </button>
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
        {inside !== '' && (
          <span
            className="jp-Loops-inside"
            title={
              (loop.in_use.kernels ?? 0) > 0
                ? trans.__(
                    '%1. A spare kernel that waits for the next notebook is not counted.',
                    inside
                  )
                : inside
            }
          >
            {inside}
          </span>
        )}
        {loop.state !== 'preparing' && (
          <time className="jp-Loops-ago" dateTime={loop.last_activity}>
            {ago(loop.last_activity, trans, now)}
          </time>
        )}
      </div>
      {unread !== '' && (
        <div className="jp-Loops-note" role="note">
          <Marked text={trans.__('This may be out of date. %1', unread)} />
        </div>
      )}
      {loop.restart_needed && (
        <Remedy
          label={trans.__('Recreate “%1”', title)}
          says={trans.__('Recreate it to apply the new settings.')}
          button={trans.__('Recreate…')}
          onClick={() => run(CommandIDs.recreate)}
        />
      )}
      {warnings.map(warning => (
        <div key={warning} className="jp-Loops-note" role="note">
          <Marked text={warning} />
        </div>
      ))}
      {loop.vault_missing && warnings.length > 0 && (
        <Remedy
          label={trans.__('Make the vault of “%1”', title)}
          says={trans.__('Or make the vault here.')}
          button={trans.__('Vaults…')}
          onClick={() => run(CommandIDs.vaults, { vault: loop.vault })}
        />
      )}
      {loop.repo_missing && !loop.archived && (
        <Remedy
          label={trans.__('Fetch the repo of “%1”', title)}
          says={trans.__('It may be within reach by now.')}
          button={trans.__('Try Again')}
          onClick={() => run(CommandIDs.fetch)}
        />
      )}
      {loop.build_failed && !loop.archived && (
        <Remedy
          label={trans.__('Show the build log of “%1”', title)}
          says={trans.__('The log shows the whole build.')}
          button={trans.__('Show Log')}
          onClick={() => run(CommandIDs.log)}
        />
      )}
      {loop.state === 'error' && !loop.archived && (
        <Remedy
          label={trans.__('Recreate “%1”', title)}
          says={trans.__('A new sandbox may fix it.')}
          button={trans.__('Recreate…')}
          onClick={() => run(CommandIDs.recreate)}
        />
      )}
    </div>
  );
});

interface IRemedyProps {
  says: string;
  button: string;
  /** Of the button, for screen readers. */
  label: string;
  onClick: () => void;
}

/** What is the matter, with the button that fixes it. */
function Remedy(props: IRemedyProps): React.ReactElement {
  return (
    <div className="jp-Loops-note jp-Loops-restart" role="note">
      <span>{props.says}</span>
      <Button
        small
        className="jp-mod-styled"
        aria-label={props.label}
        onClick={props.onClick}
      >
        {props.button}
      </Button>
    </div>
  );
}

function Actions({
  loop,
  title,
  trans,
  run
}: Pick<IProps, 'loop' | 'trans'> & {
  title: string;
  run: (id: string) => void;
}): React.ReactElement {
  const [command, doing] =
    loop.state === 'running'
      ? [
          CommandIDs.stop,
          { icon: stopIcon, label: trans.__('Stop “%1”', title) }
        ]
      : loop.state === 'preparing'
        ? [
            CommandIDs.cancel,
            {
              icon: stopIcon,
              label: trans.__('Cancel the start of “%1”', title)
            }
          ]
        : [
            CommandIDs.start,
            { icon: runIcon, label: trans.__('Start “%1”', title) }
          ];
  return (
    <span
      className="jp-Loops-actions"
      role="group"
      aria-label={trans.__('Actions on “%1”', title)}
    >
      {!loop.archived && (
        <>
          <IconButton
            icon={notebookIcon}
            label={trans.__('New notebook in “%1”', title)}
            onClick={() => run(CommandIDs.notebook)}
          />
          <IconButton
            icon={terminalIcon}
            label={trans.__('New terminal in “%1”', title)}
            onClick={() => run(CommandIDs.terminal)}
          />
        </>
      )}
      {/* The same button whatever it does, so that it keeps the focus. */}
      {!loop.archived && <IconButton {...doing} onClick={() => run(command)} />}
      <IconButton
        icon={ellipsesIcon}
        label={trans.__('More actions on “%1”', title)}
        hasMenu
        onClick={openMenu}
      />
    </span>
  );
}
