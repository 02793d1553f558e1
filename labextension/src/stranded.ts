import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { PathExt } from '@jupyterlab/coreutils';
import type { DocumentRegistry } from '@jupyterlab/docregistry';
import { DocumentWidget } from '@jupyterlab/docregistry';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { IDisposable } from '@lumino/disposable';

import { LoopError } from './api';
import { saveCopies } from './copies';
import { told, whole } from './notices';
import type { ILoopManager, Loop } from './tokens';
import { openIn } from './unsaved';
import { Watch } from './watch';
import { fullTitle } from './words';

/**
 * Looks after documents whose loop is deleted or archived, whoever does that: JupyterLab would try to save them there
 * for ever. Who has not saved something is told, and can save a copy elsewhere.
 *
 * @param app - The application.
 * @param manager - Knows the loops.
 * @param trans - Translates.
 */
export function keepUnsaved(
  app: JupyterFrontEnd,
  manager: ILoopManager,
  trans: TranslationBundle
): void {
  const watch = new Watch(manager);
  const stranded = new Map<string, Stranded>();
  /** Loops that are not listed any more, of which it is not known why. */
  const missing = new Map<string, Loop>();
  let listed = manager.loops;
  const isListed = ({ id }: Loop) => manager.loops.some(each => each.id === id);

  const judge = async (loop: Loop) => {
    missing.delete(loop.id);
    if (openIn(app.shell, loop).length === 0) {
      return;
    }
    let now: Loop | undefined;
    try {
      now =
        manager.find(loop.id) ??
        (await manager.call<Loop>('GET', `loops/${loop.id}`));
    } catch (error) {
      if (!(error instanceof LoopError) || error.status !== 404) {
        // The server is away: it is asked again when anything is heard of it.
        missing.set(loop.id, loop);
        return;
      }
    }
    if (!isListed(loop) && !stranded.has(loop.id)) {
      const isGone = now === undefined;
      const contexts = openIn(app.shell, loop);
      const options = { app, manager, trans, loop, isGone, contexts };
      stranded.set(loop.id, new Stranded(options));
    }
  };

  const look = () => {
    // What becomes of a loop is seen in time only while somebody looks.
    watch.isLooking = [...app.shell.widgets('main')].some(
      widget =>
        widget instanceof DocumentWidget &&
        manager.isInside(widget.context.path)
    );
    if (manager.loops !== listed) {
      const before = listed;
      listed = manager.loops;
      const ids = new Set(listed.map(loop => loop.id));
      for (const loop of before.filter(each => !ids.has(each.id))) {
        missing.set(loop.id, loop);
      }
      for (const id of [...stranded.keys()].filter(each => ids.has(each))) {
        stranded.get(id)?.dispose();
        stranded.delete(id);
      }
    }
    for (const loop of [...missing.values()]) {
      void judge(loop);
    }
  };
  manager.changed.connect(look);
  app.shell.currentChanged?.connect(look);
}

interface IOptions {
  app: JupyterFrontEnd;
  manager: ILoopManager;
  trans: TranslationBundle;
  loop: Loop;
  /** Whether it was deleted; it is archived otherwise. */
  isGone: boolean;
  contexts: readonly DocumentRegistry.Context[];
}

/** Documents that cannot be saved where they are. */
class Stranded implements IDisposable {
  constructor(private _options: IOptions) {
    for (const context of _options.contexts) {
      // JupyterLab saves by itself only what can be saved.
      Object.defineProperty(context, 'canSave', {
        configurable: true,
        get: () => false
      });
      context.save = () => {
        this._tell();
        const error = new Error('The loop of this document takes no changes.');
        // JupyterLab takes it for a person's decision, and shows no error of its own.
        error.name = 'ModalCancelError';
        return Promise.reject(error);
      };
      context.model.stateChanged.connect(this._tell, this);
      context.disposed.connect(this._tell, this);
    }
    this._tell();
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** Has the documents be saved again where they are. */
  dispose(): void {
    this._isDisposed = true;
    for (const context of this._open) {
      Reflect.deleteProperty(context, 'canSave');
      Reflect.deleteProperty(context, 'save');
      context.model.stateChanged.disconnect(this._tell, this);
      context.disposed.disconnect(this._tell, this);
    }
    this._dismiss();
  }

  private get _open(): DocumentRegistry.Context[] {
    return this._options.contexts.filter(context => !context.isDisposed);
  }

  private get _unsaved(): DocumentRegistry.Context[] {
    return this._open.filter(({ model }) => model.dirty);
  }

  /** Shows what is not saved, for as long as that is so. */
  private _tell(): void {
    const { loop, manager, trans, isGone } = this._options;
    const names = this._unsaved.map(({ path }) => PathExt.basename(path));
    const text = names.join(', ');
    if (text === this._told && Notification.manager.has(this._notice)) {
      return;
    }
    this._dismiss();
    this._told = text;
    if (text === '') {
      return;
    }
    const title = fullTitle(loop, manager);
    const message = isGone
      ? trans.__('“%1” was deleted. Not saved: %2.', title, text)
      : trans.__('“%1” was archived. Not saved: %2.', title, text);
    const unarchive = {
      label: trans.__('Unarchive'),
      callback: () => this._do(() => manager.change(loop.id, BACK))
    };
    const copy = {
      label: trans._n('Save a Copy', 'Save Copies', names.length),
      caption: trans.__('Saves it in the server’s own folder'),
      callback: () => this._do(() => this._copy())
    };
    this._notice = Notification.warning(message, {
      autoClose: false,
      actions: [...whole(message, trans), ...(isGone ? [] : [unarchive]), copy]
    });
  }

  private async _copy(): Promise<void> {
    const { app, trans, isGone } = this._options;
    const contexts = this._unsaved;
    const names = await saveCopies(app.serviceManager.contents, contexts);
    if (isGone) {
      // It is nowhere else to be saved, so its tab can be closed.
      contexts.forEach(({ model }) => (model.dirty = false));
    }
    const open = () => {
      for (const path of names) {
        void app.commands.execute('docmanager:open', { path });
      }
    };
    Notification.success(
      trans.__('Saved in the server’s own folder: %1.', names.join(', ')),
      {
        autoClose: 10_000,
        actions: [{ label: trans.__('Open'), callback: open }]
      }
    );
  }

  private _do(act: () => Promise<unknown>): void {
    const { loop, manager, trans } = this._options;
    void told(trans, act, { loop, manager });
  }

  private _dismiss(): void {
    if (this._notice !== '') {
      Notification.dismiss(this._notice);
      this._notice = '';
    }
  }

  private _isDisposed = false;
  private _notice = '';
  private _told = '';
}

const BACK = { archived: false };
