import type { TranslationBundle } from '@jupyterlab/translation';
import {
  addIcon,
  Button,
  caretDownIcon,
  caretRightIcon,
  consoleIcon,
  folderIcon,
  LabIcon,
  notebookIcon,
  ReactWidget,
  refreshIcon,
  runIcon,
  stopIcon,
  terminalIcon
} from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import { useVirtualizer } from '@tanstack/react-virtual';
import * as React from 'react';

import { CommandIDs } from './ids';
import { loopIcon } from './icons';
import type { Health, ILoopManager, Loop } from './tokens';

const ROW_PX = 64;

/** What the panel needs. */
export interface IPanelOptions {
  manager: ILoopManager;
  commands: CommandRegistry;
  trans: TranslationBundle;
}

/** The Loops panel of the sidebar. */
export class LoopPanel extends ReactWidget {
  constructor(private _options: IPanelOptions) {
    super();
    this.id = 'jp-loops-panel';
    this.addClass('jp-Loops');
    this.title.icon = loopIcon;
    this.title.caption = _options.trans.__('Loops');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', _options.trans.__('Loops'));
  }

  protected override onAfterShow(): void {
    void this._options.manager.refresh();
  }

  protected render(): React.ReactElement {
    return <Panel {...this._options} />;
  }
}

function useLoops(manager: ILoopManager): number {
  const [version, setVersion] = React.useState(0);
  React.useEffect(() => {
    const onChange = () => setVersion(value => value + 1);
    manager.changed.connect(onChange);
    return () => {
      manager.changed.disconnect(onChange);
    };
  }, [manager]);
  return version;
}

function Panel(props: IPanelOptions): React.ReactElement {
  const { manager, commands, trans } = props;
  useLoops(manager);
  const [filter, setFilter] = React.useState('');
  const [archived, setArchived] = React.useState(false);
  const { condition } = manager;
  const matches = (loop: Loop) =>
    loop.title.toLowerCase().includes(filter.toLowerCase());
  const shown = [
    ...manager.loops,
    ...(archived ? manager.archived : [])
  ].filter(matches);
  const toggle = () => {
    setArchived(!archived);
    if (!archived) {
      void manager.showArchived();
    }
  };
  return (
    <>
      <div className="jp-Loops-header">
        <h2 className="jp-Loops-title">{trans.__('Loops')}</h2>
        <IconButton
          icon={addIcon}
          label={trans.__('New Loop')}
          onClick={() => void commands.execute(CommandIDs.create)}
        />
        <IconButton
          icon={refreshIcon}
          label={trans.__('Refresh')}
          onClick={() => void manager.refresh()}
        />
      </div>
      {condition.kind === 'unusable' && (
        <Checks health={condition.health} trans={trans} />
      )}
      {condition.kind === 'unreachable' && (
        <div className="jp-Loops-message" role="alert">
          <p>{condition.message}</p>
          <p>{trans.__('It is tried again by itself.')}</p>
        </div>
      )}
      {condition.kind === 'loading' && (
        <div className="jp-Loops-message">{trans.__('Looking for loops…')}</div>
      )}
      {condition.kind === 'ready' && (
        <>
          {(manager.loops.length > 0 || archived) && (
            <input
              type="search"
              className="jp-mod-styled jp-Loops-filter"
              aria-label={trans.__('Filter loops')}
              placeholder={trans.__('Filter loops')}
              value={filter}
              onChange={event => setFilter(event.target.value)}
            />
          )}
          {manager.loops.length === 0 && !archived ? (
            <Empty {...props} />
          ) : shown.length === 0 ? (
            <div className="jp-Loops-message">
              {trans.__('No loop is called like that.')}
            </div>
          ) : (
            <List {...props} loops={shown} />
          )}
          <button
            className="jp-Loops-archived"
            aria-expanded={archived}
            onClick={toggle}
          >
            {archived ? (
              <caretDownIcon.react tag="span" />
            ) : (
              <caretRightIcon.react tag="span" />
            )}
            {trans.__('Archived')}
          </button>
        </>
      )}
    </>
  );
}

function Empty({ commands, trans }: IPanelOptions): React.ReactElement {
  return (
    <div className="jp-Loops-empty">
      <loopIcon.react tag="span" className="jp-Loops-emptyIcon" />
      <p>
        {trans.__(
          'A loop is a separate environment for a piece of work: its own files, its own packages, one container in which its notebooks, consoles and terminals run side by side.'
        )}
      </p>
      <Button
        className="jp-mod-styled jp-mod-accept"
        onClick={() => void commands.execute(CommandIDs.create)}
      >
        {trans.__('New Loop')}
      </Button>
    </div>
  );
}

function Checks({
  health,
  trans
}: {
  health: Health;
  trans: TranslationBundle;
}): React.ReactElement {
  return (
    <div className="jp-Loops-message" role="alert">
      <p>
        {trans.__(
          'Loops cannot run on this machine yet. The rest of JupyterLab works.'
        )}
      </p>
      <ul className="jp-Loops-checks">
        {health.checks
          .filter(check => !check.ok)
          .map(check => (
            <li key={check.name}>
              <strong>{check.name}</strong>: {check.detail}
              {check.fix !== '' && (
                <code className="jp-Loops-fix" tabIndex={0}>
                  {check.fix}
                </code>
              )}
            </li>
          ))}
      </ul>
    </div>
  );
}

function List({
  loops,
  ...props
}: IPanelOptions & { loops: Loop[] }): React.ReactElement {
  const parent = React.useRef<HTMLDivElement>(null);
  const virtualizer = useVirtualizer({
    count: loops.length,
    getScrollElement: () => parent.current,
    estimateSize: () => ROW_PX,
    getItemKey: index => loops[index].id,
    overscan: 8
  });
  return (
    <div className="jp-Loops-scroll" ref={parent}>
      <ul
        className="jp-Loops-list"
        aria-label={props.trans.__('Loops')}
        style={{ height: virtualizer.getTotalSize() }}
      >
        {virtualizer.getVirtualItems().map(item => (
          <li
            key={item.key}
            ref={virtualizer.measureElement}
            data-index={item.index}
            aria-setsize={loops.length}
            aria-posinset={item.index + 1}
            className="jp-Loops-item"
            style={{ transform: `translateY(${item.start}px)` }}
            data-loop={loops[item.index].id}
          >
            <Row {...props} loop={loops[item.index]} />
          </li>
        ))}
      </ul>
    </div>
  );
}

function Row({
  loop,
  commands,
  trans
}: IPanelOptions & { loop: Loop }): React.ReactElement {
  const run = (id: string) => void commands.execute(id, { loop: loop.id });
  const [word, mark] = stateWords(loop, trans);
  const { kernels, terminals } = loop.in_use;
  const inside = [
    kernels > 0 ? trans._n('%1 kernel', '%1 kernels', kernels, kernels) : '',
    terminals > 0
      ? trans._n('%1 terminal', '%1 terminals', terminals, terminals)
      : ''
  ].filter(text => text !== '');
  const notes = loop.restart_needed
    ? [trans.__('Restart needed to take new settings.'), ...loop.warnings]
    : loop.warnings;
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
                icon={consoleIcon}
                label={trans.__('New console in “%1”', loop.title)}
                onClick={() => run(CommandIDs.console)}
              />
              <IconButton
                icon={terminalIcon}
                label={trans.__('New terminal in “%1”', loop.title)}
                onClick={() => run(CommandIDs.terminal)}
              />
            </>
          )}
          <IconButton
            icon={folderIcon}
            label={trans.__('Files of “%1”', loop.title)}
            onClick={() => run(CommandIDs.files)}
          />
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
          {!loop.archived &&
            ['absent', 'stopped', 'error'].includes(loop.state) && (
              <IconButton
                icon={runIcon}
                label={trans.__('Start “%1”', loop.title)}
                onClick={() => run(CommandIDs.start)}
              />
            )}
        </span>
      </div>
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
        <span className="jp-Loops-inside">{inside.join(' · ')}</span>
        <time className="jp-Loops-ago" dateTime={loop.last_activity}>
          {ago(loop.last_activity, trans)}
        </time>
      </div>
      {notes.map(note => (
        <div key={note} className="jp-Loops-note" role="note">
          {note}
        </div>
      ))}
    </div>
  );
}

function stateWords(loop: Loop, trans: TranslationBundle): [string, string] {
  if (loop.archived) {
    return [trans.__('archived'), '○'];
  }
  switch (loop.state) {
    case 'running':
      return [trans.__('running'), '●'];
    case 'stopped':
      return [trans.__('stopped'), '○'];
    case 'error':
      return [trans.__('broken'), '✕'];
    case 'preparing':
      return [
        loop.progress === null
          ? trans.__('starting')
          : loop.progress.steps > 0
            ? trans.__(
                '%1 (%2 of %3)',
                loop.progress.label,
                loop.progress.step,
                loop.progress.steps
              )
            : loop.progress.label,
        '◐'
      ];
    default:
      return [trans.__('not started'), '○'];
  }
}

/** How long ago a time was, in the largest unit that fits. */
export function ago(
  text: string,
  trans: TranslationBundle,
  now = Date.now()
): string {
  const minutes = Math.floor((now - Date.parse(text)) / 60_000);
  if (minutes < 1) {
    return trans.__('just now');
  }
  if (minutes < 60) {
    return trans.__('%1 min ago', minutes);
  }
  if (minutes < 60 * 24) {
    return trans.__('%1 h ago', Math.floor(minutes / 60));
  }
  return trans.__('%1 d ago', Math.floor(minutes / (60 * 24)));
}

function IconButton(props: {
  icon: LabIcon;
  label: string;
  onClick: () => void;
}): React.ReactElement {
  return (
    <Button
      minimal
      small
      className="jp-Loops-button"
      title={props.label}
      aria-label={props.label}
      onClick={props.onClick}
    >
      <props.icon.react tag="span" width="16px" height="16px" />
    </Button>
  );
}
