import type { TranslationBundle } from '@jupyterlab/translation';
import {
  addIcon,
  Button,
  caretDownIcon,
  caretRightIcon,
  ellipsesIcon,
  ReactWidget,
  refreshIcon
} from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import type { Message } from '@lumino/messaging';
import type { ISignal } from '@lumino/signaling';
import { Signal } from '@lumino/signaling';
import * as React from 'react';

import { Boundary, Refused } from './boundary';
import { IconButton, openMenu } from './button';
import { CommandIDs } from './ids';
import { loopIcon } from './icons';
import { useKeptFocus } from './kept';
import { List } from './list';
import { Marked } from './marked';
import type { Health, ILoopManager, Loop } from './tokens';
import { Watch } from './watch';
import { commonWarnings } from './words';

/** Times such as "3 min ago" are told anew this often. */
const CLOCK_MS = 30_000;

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
    this._watch = new Watch(_options.manager);
    this.id = 'jp-loops-panel';
    this.addClass('jp-Loops');
    this.title.icon = loopIcon;
    this.title.caption = _options.trans.__('Loops');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', _options.trans.__('Loops'));
  }

  /** Show a loop, whatever the filter says, and go to it. */
  reveal(loop: Loop): void {
    this._revealed.emit(loop.id);
  }

  override dispose(): void {
    this._watch.dispose();
    super.dispose();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this._watch.isLooking = this.isVisible;
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._watch.isLooking = true;
    // What changed meanwhile was not rendered.
    this.update();
  }

  protected override onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this._watch.isLooking = false;
  }

  protected override onBeforeDetach(message: Message): void {
    this._watch.isLooking = false;
    super.onBeforeDetach(message);
  }

  protected render(): React.ReactElement {
    return (
      <Boundary trans={this._options.trans}>
        <Panel
          {...this._options}
          node={this.node}
          revealed={this._revealed}
          isSeen={this._isSeen}
        />
      </Boundary>
    );
  }

  private _isSeen = () => this.isVisible;
  /** A panel that nobody sees asks the server for nothing. */
  private _watch: Watch;
  private _revealed = new Signal<this, string>(this);
}

interface IProps extends IPanelOptions {
  /** The panel's own. */
  node: HTMLElement;
  revealed: ISignal<LoopPanel, string>;
  isSeen: () => boolean;
}

/** Renders again when the loops change, and now and then for the times in it, if anybody sees it; what time that is. */
function useLoops(manager: ILoopManager, isSeen: () => boolean): number {
  const [, setVersion] = React.useState(0);
  const [now, setNow] = React.useState(Date.now);
  React.useEffect(() => {
    const onChange = () => isSeen() && setVersion(value => value + 1);
    manager.changed.connect(onChange);
    const onTick = () => isSeen() && setNow(Date.now());
    const clock = window.setInterval(onTick, CLOCK_MS);
    return () => {
      manager.changed.disconnect(onChange);
      window.clearInterval(clock);
    };
  }, [manager, isSeen]);
  return now;
}

/** The loops whose titles have what somebody looks for; the same list until something changes. */
function useFiltered(loops: readonly Loop[], filter: string): Loop[] {
  return React.useMemo(() => {
    const wanted = filter.toLowerCase();
    return loops.filter(loop => loop.title.toLowerCase().includes(wanted));
  }, [loops, filter]);
}

function Panel(props: IProps): React.ReactElement {
  const { manager, commands, trans, node, revealed, isSeen } = props;
  const now = useLoops(manager, isSeen);
  const [filter, setFilter] = React.useState('');
  const [archived, setArchived] = React.useState(false);
  const [areKnown, setKnown] = React.useState(false);
  const [target, setTarget] = React.useState('');
  React.useEffect(() => {
    const onReveal = (_: LoopPanel, id: string) => {
      setFilter('');
      setTarget(id);
    };
    revealed.connect(onReveal);
    return () => {
      revealed.disconnect(onReveal);
    };
  }, [revealed]);
  const { condition } = manager;
  const { loops, archived: archivedLoops } = manager;
  const shown = useFiltered(loops, filter);
  const shownArchived = useFiltered(archivedLoops, filter);
  const common = React.useMemo(() => commonWarnings(loops), [loops]);
  // The same set until the warnings change, or each event would render all rows anew.
  const warnings = JSON.stringify([...common.keys()]);
  const told = React.useMemo(
    () => new Set(JSON.parse(warnings) as string[]),
    [warnings]
  );
  const toggle = () => {
    setArchived(!archived);
    if (!archived) {
      void manager.showArchived().then(() => setKnown(true));
    }
  };
  const keeping = useKeptFocus(node, shown, shownArchived, setTarget);
  const onReached = () => setTarget('');
  const list = { ...props, told, now, target, onReached, ...keeping };
  const isReady = condition.kind === 'ready';
  // What is known stays while the server is away, and so does the focus in it.
  const isAny = loops.length > 0 || archivedLoops.length > 0;
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
        <IconButton
          icon={ellipsesIcon}
          label={trans.__('More')}
          hasMenu
          onClick={openMenu}
        />
      </div>
      {condition.kind === 'unusable' && (
        <Checks health={condition.health} trans={trans} />
      )}
      {condition.kind === 'unreachable' && (
        <div className="jp-Loops-message" role="alert">
          <Marked text={condition.message} />
        </div>
      )}
      {condition.kind === 'refused' && (
        <Refused message={condition.message} trans={trans} />
      )}
      {condition.kind === 'loading' && (
        <div className="jp-Loops-message">{trans.__('Looking for loops…')}</div>
      )}
      {(isReady || isAny) && (
        <>
          {isAny && (
            <input
              type="search"
              className="jp-mod-styled jp-Loops-filter"
              aria-label={trans.__('Filter loops')}
              placeholder={trans.__('Filter loops')}
              value={filter}
              onChange={event => setFilter(event.target.value)}
            />
          )}
          {[...common].map(([warning, count]) => (
            <div
              key={warning}
              className="jp-Loops-note jp-Loops-common"
              role="note"
            >
              <Marked text={trans.__('%1 loops: %2', count, warning)} />
            </div>
          ))}
          {loops.length === 0 ? (
            isReady && <Empty {...props} />
          ) : shown.length === 0 ? (
            <div className="jp-Loops-message">
              {trans.__('No loop matches.')}
            </div>
          ) : (
            <List {...list} label={trans.__('Loops')} loops={shown} />
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
          {archived &&
            (shownArchived.length > 0 ? (
              <List
                {...list}
                label={trans.__('Archived loops')}
                loops={shownArchived}
              />
            ) : (
              areKnown && (
                <div className="jp-Loops-message" role="status">
                  {archivedLoops.length === 0
                    ? trans.__('No loop is archived.')
                    : trans.__('No archived loop matches.')}
                </div>
              )
            ))}
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
              <strong>{check.name}</strong>: <Marked text={check.detail} />
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
