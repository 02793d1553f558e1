import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { ISessionContext } from '@jupyterlab/apputils';
import type { ConsolePanel, IConsoleTracker } from '@jupyterlab/console';
import type { DocumentRegistry } from '@jupyterlab/docregistry';
import type { INotebookModel, NotebookPanel } from '@jupyterlab/notebook';
import type { IRenderMime, IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { Kernel } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ISignal } from '@lumino/signaling';

import { closeComms } from './comms';
import type { IGuard } from './guard';
import { guarded } from './guard';
import { tell } from './notices';
import type { IPlace } from './place';
import { placeOf } from './place';
import type { ILoopManager } from './tokens';
import type { Trust } from './trust';
import { originsOfKernel, trustOf } from './trust';
import { Watch } from './watch';
import { fullTitle } from './words';

type CellModel =
  INotebookModel['cells'] extends Iterable<infer Model> ? Model : never;

/** What the outputs of cells belong to: a notebook, in however many views, or a console. */
interface IOutputs {
  resolver: IRenderMime.IResolver | null;
  sessionContext: ISessionContext;
  place: () => IPlace;
  cells: () => Iterable<CellModel>;
  /** Its place, or what is in it, may be something else. */
  changes: readonly ISignal<unknown, unknown>[];
  disposed: ISignal<unknown, void>;
  /** Does something that changes no content. */
  quietly: (act: () => void) => void;
}

/** What is needed for all outputs of the page. */
export interface IUntrustedOptions {
  app: JupyterFrontEnd;
  rendermime: IRenderMimeRegistry;
  consoles: IConsoleTracker | null;
  manager: ILoopManager;
  trans: TranslationBundle;
}

/** Has outputs of strict loops shown as those that nobody ran, by whatever path or kernel, and says so once for each. */
export class Untrusted implements IGuard {
  constructor(private _options: IUntrustedOptions) {
    const { app, rendermime, consoles } = _options;
    guarded(rendermime, this);
    app.docRegistry.addWidgetExtension('Notebook', {
      createNew: (
        _: NotebookPanel,
        context: DocumentRegistry.IContext<INotebookModel>
      ) => {
        this._followNotebook(context);
      }
    });
    const follow = (panel: ConsolePanel) => this._followConsole(panel);
    consoles?.forEach(follow);
    consoles?.widgetAdded.connect((_, panel) => follow(panel));
  }

  isTrusted(resolver: IRenderMime.IResolver | null): boolean {
    if (resolver === null) {
      // It may be a kernel's, such as a variable that the debugger shows.
      return [...this._open].every(follower => follower.trust === 'labs');
    }
    const follower = this._followers.get(resolver);
    if (follower !== undefined) {
      return follower.trust === 'labs';
    }
    const { path } = resolver as { path?: string };
    const { manager } = this._options;
    return (
      path === undefined ||
      trustOf([
        { isInside: manager.isInside(path), loop: manager.ofPath(path) }
      ]) === 'labs'
    );
  }

  withheld(resolver: IRenderMime.IResolver): void {
    this._withheld.add(resolver);
    this._followers.get(resolver)?.tell();
  }

  private _followNotebook(
    context: DocumentRegistry.IContext<INotebookModel>
  ): void {
    const { manager } = this._options;
    const { model, urlResolver: resolver, sessionContext } = context;
    if (this._followers.has(resolver)) {
      return;
    }
    const follower = this._follow({
      resolver,
      sessionContext,
      place: () => ({
        isInside: manager.isInside(context.path),
        loop: manager.ofPath(context.path)
      }),
      cells: () => model.cells,
      changes: [context.pathChanged, model.cells.changed],
      disposed: context.disposed,
      quietly: act => {
        const { dirty } = model;
        act();
        model.dirty = dirty;
      }
    });
    // A cell that is run is trusted before its outputs come.
    const followCell = (cell: CellModel) => {
      cell.stateChanged.connect((_, change) => {
        if (change.name === 'trusted' && change.newValue) {
          follower.look();
        }
      });
    };
    [...model.cells].forEach(followCell);
    model.cells.changed.connect((_, change) => {
      if (change.type !== 'remove') {
        change.newValues.forEach(followCell);
      }
    });
  }

  private _followConsole(panel: ConsolePanel): void {
    const { console: inner, sessionContext, disposed } = panel;
    this._follow({
      resolver: inner.rendermime.resolver,
      sessionContext,
      place: () => placeOf(panel, this._options.manager, undefined),
      cells: () => [...inner.cells].map(cell => cell.model),
      changes: [],
      disposed,
      quietly: act => act()
    });
  }

  private _follow(outputs: IOutputs): Follower {
    const { resolver, disposed } = outputs;
    const follower = new Follower(
      outputs,
      this._options,
      () => resolver !== null && this._withheld.has(resolver)
    );
    this._open.add(follower);
    if (resolver !== null) {
      this._followers.set(resolver, follower);
    }
    disposed.connect(() => {
      this._open.delete(follower);
      follower.dispose();
    });
    return follower;
  }

  private _open = new Set<Follower>();
  private _followers = new WeakMap<IRenderMime.IResolver, Follower>();
  private _withheld = new WeakSet<IRenderMime.IResolver>();
}

/** Follows what is known of one notebook or console. */
class Follower {
  constructor(
    private _outputs: IOutputs,
    private _options: Omit<IUntrustedOptions, 'rendermime' | 'consoles'>,
    private _isWithheld: () => boolean
  ) {
    const { app, manager } = _options;
    this._watch = new Watch(manager);
    this._signals = [
      manager.changed,
      app.serviceManager.sessions.runningChanged,
      _outputs.sessionContext.kernelChanged,
      ..._outputs.changes
    ];
    this._signals.forEach(signal => signal.connect(this.look, this));
    this.look();
  }

  get trust(): Trust {
    return this._trust;
  }

  dispose(): void {
    this._signals.forEach(signal => signal.disconnect(this.look, this));
    this._watch.dispose();
  }

  /** Takes what is known now. */
  look(): void {
    const { app, manager } = this._options;
    const { place, sessionContext } = this._outputs;
    const kernel = sessionContext.session?.kernel ?? undefined;
    const { sessions } = app.serviceManager;
    const origins = [
      place(),
      ...(kernel ? originsOfKernel(kernel, sessions.running(), manager) : [])
    ];
    const before = this._trust;
    this._trust = trustOf(origins);
    this._watch.isLooking = origins.some(({ isInside }) => isInside);
    this._setComms(kernel);
    if (this._trust === 'none') {
      this._distrust();
    } else if (
      this._trust === 'labs' &&
      before === 'unknown' &&
      this._isWithheld()
    ) {
      this._showAgain();
    }
    this.tell();
  }

  /** Says, once, that something is not shown as it would be. */
  tell(): void {
    const { manager, trans } = this._options;
    if (
      this._isTold ||
      this._trust === 'labs' ||
      manager.condition.kind === 'loading' ||
      !this._isWithheld()
    ) {
      return;
    }
    this._isTold = true;
    const { loop } = this._outputs.place();
    const why =
      this._trust === 'unknown'
        ? trans.__(
            'The loop of this kernel or notebook is not known here: what its cells show is not trusted.'
          )
        : loop === undefined
          ? trans.__('The loop is strict: what its cells show is not trusted.')
          : trans.__(
              '“%1” is strict: what its cells show is not trusted.',
              fullTitle(loop, manager)
            );
    const message = trans.__(
      '%1 Scripts, SVG, styles and widgets are left out. Show pictures as PNG; for code that you trust, choose another isolation in Loop Settings….',
      why
    );
    tell({ type: 'info', message, loopId: loop?.id ?? '', title: '' }, trans);
  }

  private _setComms(kernel: Kernel.IKernelConnection | undefined): void {
    if (this._closed !== undefined && this._closed.kernel !== kernel) {
      this._closed = undefined;
    }
    if (this._trust === 'labs') {
      this._closed?.open();
      this._closed = undefined;
    } else if (
      kernel !== undefined &&
      this._closed === undefined &&
      // Widgets ask their kernel for what there is once, as soon as they know it, and one connection alone may answer.
      this._options.manager.condition.kind !== 'loading'
    ) {
      this._closed = { kernel, open: closeComms(kernel) };
    }
  }

  /** So that neither copies of the cells nor the file are trusted elsewhere. */
  private _distrust(): void {
    const { cells, quietly } = this._outputs;
    for (const cell of cells()) {
      if (cell.type === 'code' && (cell.trusted || isMarked(cell))) {
        quietly(() => {
          cell.trusted = false;
          cell.setMetadata('trusted', false);
        });
      }
    }
  }

  private _showAgain(): void {
    const { cells, quietly } = this._outputs;
    for (const cell of cells()) {
      if (cell.type === 'code' && cell.trusted) {
        quietly(() => {
          cell.trusted = false;
          cell.trusted = true;
        });
      }
    }
  }

  private _trust: Trust = 'unknown';
  private _isTold = false;
  private _closed:
    { kernel: Kernel.IKernelConnection; open: () => void } | undefined;
  private _watch: Watch;
  private _signals: readonly ISignal<unknown, unknown>[];
}

function isMarked(cell: CellModel): boolean {
  return cell.getMetadata('trusted') === true;
}
